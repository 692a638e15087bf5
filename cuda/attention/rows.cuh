#pragma once
// What the kernels over rows of scores share: which query a row is, what it sees, dropout.
#include "attention/rows.h"
#include "ops/backend.h"

namespace heddle::cuda {

// What the gradient of a row needs beside its scores.
template <class T>
struct AttentionRows {
  const T *o, *d_o;
  const float* lse;
  int64_t o_stride[3], do_stride[3];
};

struct Span {
  int64_t low, high;
};

// The keys that query i sees, documents apart (AttentionShape).
__device__ inline Span visible_keys(const AttentionShape& s, int64_t i) {
  const int64_t position = i + s.Tk - s.Tq;
  Span keys{0, s.Tk};
  if (s.causal) keys.high = min(s.Tk, position + 1);
  if (s.window > 0) {
    const int64_t window = min(s.window, s.Tq + s.Tk);
    keys.low = max(int64_t{0}, position - window + 1);
    if (!s.causal) keys.high = min(s.Tk, position + window);
  }
  return keys.high > keys.low ? keys : Span{0, 0};
}

// One row of scores: which query it belongs to and what that query sees.
struct ScoreRow {
  int64_t b, h, i;
  int64_t first_element;  // of dropout, and of lse times Tk
  Span keys;
  const int32_t* k_documents;
  int32_t document;

  __device__ ScoreRow(const AttentionShape& s, const AttentionPart& part, int64_t row) {
    i = row % s.Tq;
    int64_t rest = row / s.Tq;
    const int64_t g = rest % part.heads + part.g;
    rest /= part.heads;
    h = (rest % part.kv_heads + part.kv) * (s.H / s.Hkv) + g;
    b = rest / part.kv_heads + part.b;
    first_element = query(s) * s.Tk;
    keys = visible_keys(s, i);
    k_documents = s.q_documents ? s.k_documents + b * s.Tk : nullptr;
    document = s.q_documents ? s.q_documents[b * s.Tq + i] : 0;
  }
  __device__ int64_t query(const AttentionShape& s) const { return (b * s.H + h) * s.Tq + i; }
  __device__ bool sees(int64_t j) const { return j >= keys.low && j < keys.high && (!k_documents || k_documents[j] == document); }
};

// What dropout multiplies element `e` by: 1 / (1 - p) or 0.
struct Dropout {
  RandomState state;
  uint32_t threshold, stream;
  float scale;

  __device__ explicit Dropout(const AttentionShape& s) : state{}, threshold(0), stream(s.stream), scale(1) {
    if (s.dropout <= 0) return;
    state = *s.random;
    threshold = drop_threshold(s.dropout);
    scale = 1.0f / (1.0f - s.dropout);
  }
  __device__ float keep(int64_t e) const {
    if (scale == 1.0f) return 1.0f;
    const Random4 draws = philox(state.seed_low, state.seed_high, static_cast<uint64_t>(e) / 4, stream, state.step);
    const int lane = static_cast<int>(e & 3);
    const uint32_t bits = lane == 0 ? draws.x[0] : lane == 1 ? draws.x[1] : lane == 2 ? draws.x[2] : draws.x[3];
    return bits >= threshold ? scale : 0.0f;
  }
};

}  // namespace heddle::cuda
