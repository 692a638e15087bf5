#pragma once
// What a query sees, for kernels over tiles of queries and keys. A query at position p = i + Tk - Tq sees key j when
//   -behind <= j - p < ahead,  and where there are documents, when their ids are equal
// (AttentionShape says the same in other words). Both ends of what a query sees rise with i, so tiles see intervals too.
#include <algorithm>

#include "attention/rows.h"
#include "ops/backend.h"

namespace heddle::cuda {

struct Interval {
  int low, high;  // [low, high), empty where high <= low
  __device__ bool empty() const { return high <= low; }
};

struct AttentionMask {
  int Tq, Tk;
  int ahead, behind;
  const int32_t *q_documents, *k_documents;  // [B][Tq], [B][Tk], or null

  AttentionMask() = default;
  explicit AttentionMask(const AttentionShape& s)
      : Tq(static_cast<int>(s.Tq)), Tk(static_cast<int>(s.Tk)), q_documents(s.q_documents), k_documents(s.k_documents) {
    const int all = Tq + Tk, window = static_cast<int>(s.window > 0 ? std::min<int64_t>(s.window, all) : all);
    ahead = s.causal ? 1 : window;
    behind = window - 1;
  }

  // The same where it is known that there are no documents.
  __device__ AttentionMask plain() const {
    AttentionMask m = *this;
    m.q_documents = m.k_documents = nullptr;
    return m;
  }
  // Of the batch b alone.
  __device__ AttentionMask of_batch(int64_t b) const {
    AttentionMask m = *this;
    if (q_documents) {
      m.q_documents += b * Tq;
      m.k_documents += b * Tk;
    }
    return m;
  }

  __device__ int position(int i) const { return i + Tk - Tq; }

  // Keys that one of the queries [first, last) sees, documents apart; 0 <= first < last <= Tq.
  __device__ Interval keys(int first, int last) const { return {max(0, position(first) - behind), min(Tk, position(last - 1) + ahead)}; }
  // Queries that see one of the keys [first, last), documents apart; 0 <= first < last <= Tk.
  __device__ Interval queries(int first, int last) const {
    const int shift = Tk - Tq;
    return {max(0, first - ahead + 1 - shift), min(Tq, last + behind - shift)};
  }
  // Every query of [q, q + q_count) sees every key of [k, k + k_count), all of which exist; documents apart.
  __device__ bool full(int q, int q_count, int k, int k_count) const {
    return q + q_count <= Tq && k + k_count <= Tk && k + k_count <= position(q) + ahead && k >= position(q + q_count - 1) - behind;
  }
  // The tiles of keys that are so for them.
  template <int Keys>
  __device__ Interval full_tiles(int q, int q_count) const {
    if (q + q_count > Tq) return {0, 0};
    return {(max(0, position(q + q_count - 1) - behind) + Keys - 1) / Keys, max(0, min(Tk, position(q) + ahead)) / Keys};
  }
  // Query i, key j, which may not exist (then 0); `distance` is j - position(i).
  __device__ bool near(int distance) const { return distance < ahead && distance >= -behind; }
};

// The least and the greatest document of a tile: tiles whose ranges are apart see nothing of each other, and two tiles of one and the
// same document see all.
struct DocumentRange {
  int32_t low, high;
  __device__ bool apart(const DocumentRange& o) const { return low > o.high || high < o.low; }
  __device__ bool same(const DocumentRange& o) const { return low == high && o.low == o.high && low == o.low; }
};

// Of documents [first, min(first + count, all)), which is not empty, for every lane of the warp.
__device__ inline DocumentRange document_range(const int32_t* documents, int first, int count, int all) {
  const int lane = threadIdx.x % 32, last = min(first + count, all);
  DocumentRange r{documents[first], documents[first]};
  for (int t = first + lane; t < last; t += 32) {
    const int32_t id = documents[t];
    r.low = min(r.low, id);
    r.high = max(r.high, id);
  }
  for (int offset = 16; offset > 0; offset /= 2) {
    r.low = min(r.low, __shfl_xor_sync(0xffffffffu, r.low, offset));
    r.high = max(r.high, __shfl_xor_sync(0xffffffffu, r.high, offset));
  }
  return r;
}

// Dropout's own bits, whatever computes: element ((b H + h) Tq + i) Tk + j is kept when its 32 bits reach the threshold; what is kept
// counts 1 / (1 - p).
struct AttentionDropout {
  const RandomState* random;  // null: no dropout
  uint32_t stream, threshold;
  float scale;

  AttentionDropout() = default;
  explicit AttentionDropout(const AttentionShape& s)
      : random(s.dropout > 0 ? s.random : nullptr),
        stream(s.stream),
        threshold(drop_threshold(s.dropout)),
        scale(s.dropout > 0 ? 1.0f / (1.0f - s.dropout) : 1.0f) {}

  __device__ bool keeps(const RandomState& state, int64_t element) const {
    const Random4 draws = philox(state.seed_low, state.seed_high, static_cast<uint64_t>(element) / 4, stream, state.step);
    return word(draws, static_cast<int>(element & 3)) >= threshold;
  }
  // Elements e and e + 1 in bits 0 and 1.
  __device__ uint32_t keeps_pair(const RandomState& state, int64_t element) const {
    const Random4 draws = philox(state.seed_low, state.seed_high, static_cast<uint64_t>(element) / 4, stream, state.step);
    const int at = static_cast<int>(element & 3);
    const uint32_t first = word(draws, at) >= threshold ? 1 : 0;
    if (at == 3) return first | (keeps(state, element + 1) ? 2u : 0u);
    return first | (word(draws, at + 1) >= threshold ? 2u : 0u);
  }

 private:
  static __device__ uint32_t word(const Random4& draws, int at) {
    return at == 0 ? draws.x[0] : at == 1 ? draws.x[1] : at == 2 ? draws.x[2] : draws.x[3];
  }
};

}  // namespace heddle::cuda
