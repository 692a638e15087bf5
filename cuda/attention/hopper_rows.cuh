#pragma once
// Scores of a warpgroup's 64 queries against a tile of keys, as its products leave them (ptx/wgmma.cuh): what of them is hidden, what
// dropout keeps. Score i of a thread is that of its row i / 2 % 2 and of key i / 4 * 8 + lane % 4 * 2 + i % 2 of the tile.
#include "attention/hopper.cuh"

namespace heddle::cuda {

// What a thread knows of its two rows.
struct QueryRows {
  AttentionMask mask;  // of the batch
  int64_t element;     // of dropout, of the first row's key 0
  int first;           // query of the warpgroup
  int row[2];
  int32_t document[2];

  // Of the block's tile that begins with `query`, whose warp this is.
  template <bool Drops>
  static __device__ QueryRows of(const AttentionMask& mask, int H, int b, int h, int query, int warp) {
    QueryRows r{};
    r.mask = mask.of_batch(b);
    r.first = query + warp / 4 * 64;
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      r.row[i] = query + warp * 16 + lane() / 4 + i * 8;
      if (r.mask.q_documents) r.document[i] = r.row[i] < r.mask.Tq ? r.mask.q_documents[r.row[i]] : 0;
    }
    if constexpr (Drops) r.element = ((static_cast<int64_t>(b) * H + h) * r.mask.Tq + r.row[0]) * r.mask.Tk;
    return r;
  }
};

// The warpgroup sees all of a tile of keys, of which `key` is the first.
template <int Keys>
__device__ inline bool sees_all(const QueryRows& r, int key) {
  return !r.mask.q_documents && r.mask.full(r.first, 64, key, Keys);
}

// What is hidden, or does not exist, becomes -inf.
template <int Keys>
__device__ inline void hide_keys(float (&s)[Keys / 2], const QueryRows& r, int key) {
  const int mine = key + lane() % 4 * 2;
  int low[2], high[2];  // of a row's keys, from this lane's first on
#pragma unroll
  for (int row = 0; row < 2; ++row) {
    const Interval keys = r.mask.keys(r.row[row], r.row[row] + 1);
    low[row] = keys.low - mine;
    high[row] = keys.high - mine;
  }
#pragma unroll
  for (int i = 0; i < Keys / 2; ++i) {
    const int at = i / 4 * 8 + i % 2, row = i / 2 % 2;
    if ((at < low[row]) | (at >= high[row])) s[i] = kNoScore;
  }
  if (!r.mask.q_documents) return;
  const int32_t* documents = r.mask.k_documents;
#pragma unroll
  for (int i = 0; i < Keys / 2; ++i) {
    const int at = i / 4 * 8 + i % 2, row = i / 2 % 2;
    if (documents[min(mine + at, r.mask.Tk - 1)] != r.document[row]) s[i] = kNoScore;
  }
}

// What dropout keeps of the scores of a row each. A loop: unrolled, its draws would not leave the scores their registers.
template <int Keys>
__device__ inline void draw_kept(uint32_t (&kept)[2], const AttentionDropout& dropout, const QueryRows& r, int key) {
  const RandomState random = *dropout.random;
  const int64_t first = r.element + key + lane() % 4 * 2;
  kept[0] = kept[1] = 0;
#pragma unroll 1
  for (int j = 0; j < Keys / 8; ++j)
#pragma unroll
    for (int row = 0; row < 2; ++row)
      kept[row] |= dropout.keeps_pair(random, first + row * 8 * static_cast<int64_t>(r.mask.Tk) + j * 8) << 2 * j;
}
__device__ inline bool keeps(const uint32_t (&kept)[2], int i) { return kept[i / 2 % 2] >> (i / 4 * 2 + i % 2) & 1; }

}  // namespace heddle::cuda
