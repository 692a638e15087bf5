#pragma once
// How composed attention is cut, and where a part's arrays lie in the workspace. Pure functions of the shape.
#include <algorithm>

#include "attention/rows.h"

namespace heddle::cuda {

// Of scores and what belongs to them; a part of one head may be larger.
constexpr int64_t kAttentionBytes = int64_t{1} << 28;

// Per row of scores: f32 scores, and probabilities in the element type (f32: in the scores' place); the gradient has two of each.
struct AttentionParts {
  AttentionShape s;
  bool backward;
  int64_t ld, group, batches, kv_heads, heads;  // ld: Tk in whole vectors; the rest: the most of a part

  AttentionParts(const AttentionShape& shape, bool gradient) : s(shape), backward(gradient) {
    ld = (s.Tk + 7) / 8 * 8;
    group = s.H / s.Hkv;
    const int64_t fit = std::max<int64_t>(1, kAttentionBytes / std::max<int64_t>(1, head_bytes()));
    heads = std::min(group, fit);
    kv_heads = heads < group ? 1 : std::min(s.Hkv, fit / group);
    // a matmul has two batch dimensions: batches and heads, or key heads and their queries' heads
    batches = group > 1 || kv_heads < s.Hkv ? 1 : std::min(s.B, fit / s.Hkv);
  }

  bool half() const { return s.type != DType::f32; }
  int64_t most_heads() const { return batches * kv_heads * heads; }
  // dk and dv of a group of heads are summed in f32 beside the 16-bit outputs.
  bool sums_heads() const { return backward && half() && group > 1; }

  int64_t scores_bytes() const { return s.Tq * ld * 4; }
  int64_t half_bytes() const { return half() ? s.Tq * ld * 2 : 0; }
  int64_t head_bytes() const { return (scores_bytes() + half_bytes()) * (backward ? 2 : 1); }
  int64_t sum_bytes() const { return sums_heads() ? round_up(kv_heads * s.Tk * s.D * 4) : 0; }
  size_t bytes() const { return static_cast<size_t>(most_heads() * head_bytes() + 2 * sum_bytes()); }

  // f(part) for all parts; those of one group of heads follow each other.
  template <class F>
  void each(const F& f) const {
    for (int64_t b = 0; b < s.B; b += batches)
      for (int64_t kv = 0; kv < s.Hkv; kv += kv_heads)
        for (int64_t g = 0; g < group; g += heads)
          f(AttentionPart{b, std::min(batches, s.B - b), kv, std::min(kv_heads, s.Hkv - kv), g, std::min(heads, group - g)});
  }

 private:
  static int64_t round_up(int64_t bytes) { return (bytes + 15) / 16 * 16; }
};

}  // namespace heddle::cuda
