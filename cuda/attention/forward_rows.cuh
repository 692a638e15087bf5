#pragma once
// What a warp of fused attention forward holds in registers, and what it does to it between the two products.
#include <cfloat>

#include "attention/fused.h"
#include "common/exp.cuh"
#include "ptx/thread.cuh"
#include "tile/heads.cuh"

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

// The rows of a warp: M times 16. A lane has 2 M of them, row r = m * 16 + half * 8 + lane / 4. The scores of a tile of keys are Parts
// times N times 8; a part passes through the softmax at a time, and the tensor cores have another one's products meanwhile.
template <class T, int Head, int M, int N, int Parts>
struct ForwardRows {
  float s[Parts][M][N][4], o[M][Head / 8][4];
  float base[M][2], sum[M][2];  // c m, finite where nothing has been seen: 2^(-inf - c m) is 0 then, too; a lane's part of l

  __device__ ForwardRows() : o{}, sum{} {
#pragma unroll
    for (int m = 0; m < M; ++m) base[m][0] = base[m][1] = -FLT_MAX;
  }

  // Hides what query first + r does not see of a part, whose keys begin with `key`.
  __device__ void hide(int part, const AttentionMask& mask, int first, int key) {
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
            if (key + j * 8 + e < low || key + j * 8 + e >= high) s[part][m][j][2 * half + e] = kNegativeInfinity;
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
            if (document[m][half] != other) s[part][m][j][2 * half + e] = kNegativeInfinity;
      }
  }

  // S to P of a part, with what belongs to it.
  __device__ void softmax(int part, float scale_log2) {
#pragma unroll
    for (int m = 0; m < M; ++m)
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        float most = fmaxf(s[part][m][0][2 * half], s[part][m][0][2 * half + 1]);
#pragma unroll
        for (int j = 1; j < N; ++j) most = fmaxf(most, fmaxf(s[part][m][j][2 * half], s[part][m][j][2 * half + 1]));
        most = fmaxf(most, __shfl_xor_sync(0xffffffffu, most, 1));
        most = fmaxf(most, __shfl_xor_sync(0xffffffffu, most, 2));
        const float next = fmaxf(base[m][half], most * scale_log2);
        const float keep = exp2_fast(base[m][half] - next);
        base[m][half] = next;
        float more = sum[m][half] * keep;
#pragma unroll
        for (int j = 0; j < N; ++j)
#pragma unroll
          for (int e = 2 * half; e < 2 * half + 2; ++e) {
            s[part][m][j][e] = exp2_fast(fmaf(s[part][m][j][e], scale_log2, -next));
            more += s[part][m][j][e];
          }
        sum[m][half] = more;
#pragma unroll
        for (int j = 0; j < Head / 8; ++j) {
          o[m][j][2 * half] *= keep;
          o[m][j][2 * half + 1] *= keep;
        }
      }
  }

  // Dropout's bits of the keys of a tile, from `key` on: of part p, row m, tile j, element e in bit e % 2 of pair (2 p + e / 2) N + j.
  static __device__ void draw(uint32_t (&keep)[M], const AttentionDropout& dropout, int64_t row, int Tk, int key) {
    static_assert(Parts * N <= 8, "32 bits");
    const RandomState state = *dropout.random;
    const int lane = ptx::lane();
#pragma unroll
    for (int m = 0; m < M; ++m) {
      keep[m] = 0;
#pragma unroll 1
      for (int pair = 0; pair < 2 * Parts * N; ++pair) {
        const int64_t i = row + m * 16 + pair / N % 2 * 8 + lane / 4;
        keep[m] |= dropout.keeps_pair(state, i * Tk + key + (pair / (2 * N) * N + pair % N) * 8 + lane % 4 * 2) << 2 * pair;
      }
    }
  }
  __device__ void drop(int part, const uint32_t (&keep)[M]) {
#pragma unroll
    for (int m = 0; m < M; ++m)
#pragma unroll
      for (int j = 0; j < N; ++j)
#pragma unroll
        for (int e = 0; e < 4; ++e)
          if (!(keep[m] >> (2 * ((2 * part + e / 2) * N + j) + e % 2) & 1)) s[part][m][j][e] = 0;
  }

  // S = Q K^T of a part. queries(c): Q's fragments of elements [16 c, 16 c + 16).
  template <class Queries>
  __device__ void multiply(int part, const Queries& queries, const HeadFragments<Head, Operand::b>& read_k, uint32_t tile_k) {
#pragma unroll
    for (int m = 0; m < M; ++m)
#pragma unroll
      for (int j = 0; j < N; ++j)
#pragma unroll
        for (int e = 0; e < 4; ++e) s[part][m][j][e] = 0;
#pragma unroll
    for (int c = 0; c < Head / 16; ++c) {
      const uint32_t (&q)[M][4] = queries(c);
#pragma unroll
      for (int j = 0; j < N / 2; ++j) {
        uint32_t k[4];
        read_k.read(k, tile_k, part * (N / 2) + j, c);
#pragma unroll
        for (int m = 0; m < M; ++m) {
          ptx::mma<T>(s[part][m][2 * j], q[m], k[0], k[1]);
          ptx::mma<T>(s[part][m][2 * j + 1], q[m], k[2], k[3]);
        }
      }
    }
  }
  // O += P V of a part.
  __device__ void add(int part, const HeadFragments<Head, Operand::b_across>& read_v, uint32_t tile_v) {
#pragma unroll
    for (int c = 0; c < N / 2; ++c) {
      uint32_t weights[M][4];
#pragma unroll
      for (int m = 0; m < M; ++m)
#pragma unroll
        for (int e = 0; e < 4; ++e) weights[m][e] = pack<T>(s[part][m][2 * c + e / 2][e % 2 * 2], s[part][m][2 * c + e / 2][e % 2 * 2 + 1]);
#pragma unroll
      for (int j = 0; j < Head / 16; ++j) {
        uint32_t v[4];
        read_v.read(v, tile_v, part * (N / 2) + c, j);
#pragma unroll
        for (int m = 0; m < M; ++m) {
          ptx::mma<T>(o[m][2 * j], weights[m], v[0], v[1]);
          ptx::mma<T>(o[m][2 * j + 1], weights[m], v[2], v[3]);
        }
      }
    }
  }
};

}  // namespace heddle::cuda
