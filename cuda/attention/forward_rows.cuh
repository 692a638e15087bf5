#pragma once
// What a warp of fused attention forward holds in registers, and what it does to it between the two products.
#include "attention/fused.h"
#include "common/exp.cuh"
#include "ptx/thread.cuh"

namespace heddle::cuda {

// What the keys of a tile of queries are, tile by tile from the last.
struct KeyTiles {
  Interval seen;  // by the block's queries
  DocumentRange documents;

  // The last tile before `tile` of which something is seen, or one below `first`.
  template <int Keys>
  __device__ int before(const AttentionMask& mask, int tile) const {
    const int first = seen.low / Keys;
    for (--tile; tile >= first; --tile)
      if (!mask.k_documents || !documents.apart(document_range(mask.k_documents, tile * Keys, Keys, mask.Tk))) break;
    return tile;
  }
};

// The rows of a warp: M times 16. A lane has 2 M of them, row r = m * 16 + half * 8 + lane / 4.
template <class T, int Head, int M, int N>
struct ForwardRows {
  float s[M][N][4], o[M][Head / 8][4];
  float top[M][2], sum[M][2];  // m in units of S; a lane's part of l

  __device__ ForwardRows() : o{}, sum{} {
#pragma unroll
    for (int m = 0; m < M; ++m) top[m][0] = top[m][1] = kNegativeInfinity;
  }

  // Hides what query first + r does not see of the keys from `key` on.
  __device__ void hide(const AttentionMask& mask, int first, int key) {
    const int lane = ptx::lane();
    key += lane % 4 * 2;
#pragma unroll
    for (int m = 0; m < M; ++m)
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const int i = first + m * 16 + half * 8 + lane / 4;
        const int position = mask.position(i), low = position - mask.behind, high = min(mask.Tk, position + mask.ahead);
#pragma unroll
        for (int j = 0; j < N; ++j)
#pragma unroll
          for (int e = 0; e < 2; ++e)
            if (key + j * 8 + e < low || key + j * 8 + e >= high) s[m][j][2 * half + e] = kNegativeInfinity;
      }
    if (!mask.q_documents) return;
    int32_t document[M][2];
#pragma unroll
    for (int m = 0; m < M; ++m)
#pragma unroll
      for (int half = 0; half < 2; ++half) document[m][half] = mask.q_documents[min(first + m * 16 + half * 8 + lane / 4, mask.Tq - 1)];
#pragma unroll
    for (int j = 0; j < N; ++j)
#pragma unroll
      for (int e = 0; e < 2; ++e) {
        const int32_t other = mask.k_documents[min(key + j * 8 + e, mask.Tk - 1)];
#pragma unroll
        for (int m = 0; m < M; ++m)
#pragma unroll
          for (int half = 0; half < 2; ++half)
            if (document[m][half] != other) s[m][j][2 * half + e] = kNegativeInfinity;
      }
  }

  // S to P, with what belongs to it.
  __device__ void softmax(float scale_log2) {
#pragma unroll
    for (int m = 0; m < M; ++m)
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        float most = s[m][0][2 * half];
#pragma unroll
        for (int j = 0; j < N; ++j) most = fmaxf(most, fmaxf(s[m][j][2 * half], s[m][j][2 * half + 1]));
        most = fmaxf(most, __shfl_xor_sync(0xffffffffu, most, 1));
        most = fmaxf(fmaxf(most, __shfl_xor_sync(0xffffffffu, most, 2)), top[m][half]);
        const float base = most == kNegativeInfinity ? 0.0f : most * scale_log2;  // nothing seen yet: 2^(-inf - 0) = 0
        const float keep = exp2_fast(fmaf(top[m][half], scale_log2, -base));
        top[m][half] = most;
        float part = sum[m][half] * keep;
#pragma unroll
        for (int j = 0; j < N; ++j)
#pragma unroll
          for (int e = 2 * half; e < 2 * half + 2; ++e) {
            s[m][j][e] = exp2_fast(fmaf(s[m][j][e], scale_log2, -base));
            part += s[m][j][e];
          }
        sum[m][half] = part;
#pragma unroll
        for (int j = 0; j < Head / 8; ++j) {
          o[m][j][2 * half] *= keep;
          o[m][j][2 * half + 1] *= keep;
        }
      }
  }

  // Dropout's bits of the keys from `key` on: of row m, tile j, element e in bit e % 2 of pair (e / 2) N + j.
  __device__ static void draw(uint32_t (&keep)[M], const AttentionDropout& dropout, int64_t row, int Tk, int key) {
    static_assert(N <= 8, "32 bits");
    const RandomState state = *dropout.random;
    const int lane = ptx::lane();
#pragma unroll
    for (int m = 0; m < M; ++m) {
      keep[m] = 0;
#pragma unroll 1
      for (int pair = 0; pair < 2 * N; ++pair) {
        const int64_t i = row + m * 16 + pair / N * 8 + lane / 4;
        keep[m] |= dropout.keeps_pair(state, i * Tk + key + pair % N * 8 + lane % 4 * 2) << 2 * pair;
      }
    }
  }
  __device__ void drop(const uint32_t (&keep)[M]) {
#pragma unroll
    for (int m = 0; m < M; ++m)
#pragma unroll
      for (int j = 0; j < N; ++j)
#pragma unroll
        for (int e = 0; e < 4; ++e)
          if (!(keep[m] >> (2 * (e / 2 * N + j) + e % 2) & 1)) s[m][j][e] = 0;
  }
};

}  // namespace heddle::cuda
