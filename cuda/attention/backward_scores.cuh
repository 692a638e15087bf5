#pragma once
// What a warp of fused attention backward holds in registers for a pair of tiles, its products, and which tiles there are.
#include "attention/fused.h"
#include "common/exp.cuh"
#include "ptx/thread.cuh"
#include "tile/heads.cuh"

namespace heddle::cuda {

// Of the tiles of columns [begin, end) those of which something is seen, for each head of a group.
struct ColumnWalk {
  int begin, end, heads;
  const int32_t* documents;  // of columns, or null
  int count;                 // of columns
  DocumentRange own;
  int head, tile;

  __device__ bool done() const { return head >= heads; }
  template <int Columns>
  __device__ void start() {
    head = begin < end ? 0 : heads;
    tile = begin - 1;
    if (!done()) next<Columns>();
  }
  template <int Columns>
  __device__ void next() {
    do {
      if (++tile < end) continue;
      tile = begin;
      ++head;
    } while (!done() && documents && own.apart(document_range(documents, tile * Columns, Columns, count)));
  }
};

// A warp's scores: M times 16 of the block's rows by N times 8 columns. Keys: rows are keys and columns queries, else the reverse.
template <class T, int Head, bool Keys, int M, int N>
struct BackwardScores {
  float p[M][N][4], dp[M][N][4];  // P, dP; then k P, dS

  // f(m, j, e, score) for all of them.
  template <class F>
  static __device__ __forceinline__ void each(float (&x)[M][N][4], const F& f) {
#pragma unroll
    for (int m = 0; m < M; ++m)
#pragma unroll
      for (int j = 0; j < N; ++j)
#pragma unroll
        for (int e = 0; e < 4; ++e) f(m, j, e, x[m][j][e]);
  }

  // x = own tile times columns^T. own(a, c): the tile's fragments of elements [16 c, 16 c + 16).
  template <class Own>
  static __device__ void multiply(float (&x)[M][N][4], const Own& own, uint32_t columns) {
    const HeadFragments<Head, Operand::b> read_columns(0);
    each(x, [](int, int, int, float& score) { score = 0; });
#pragma unroll
    for (int c = 0; c < Head / 16; ++c) {
      const uint32_t (&a)[M][4] = own(c);
#pragma unroll
      for (int j = 0; j < N / 2; ++j) {
        uint32_t b[4];
        read_columns.read(b, columns, j, c);
#pragma unroll
        for (int m = 0; m < M; ++m) {
          ptx::mma<T>(x[m][2 * j], a[m], b[0], b[1]);
          ptx::mma<T>(x[m][2 * j + 1], a[m], b[2], b[3]);
        }
      }
    }
  }

  // sum += x times `Width` elements of the columns.
  template <int Width>
  static __device__ void add(float (&sum)[M][Width / 8][4], const float (&x)[M][N][4], uint32_t columns) {
    const HeadFragments<Head, Operand::b_across> read_columns(0);
#pragma unroll
    for (int c = 0; c < N / 2; ++c) {
      uint32_t a[M][4];
#pragma unroll
      for (int m = 0; m < M; ++m)
#pragma unroll
        for (int e = 0; e < 4; ++e) a[m][e] = pack<T>(x[m][2 * c + e / 2][e % 2 * 2], x[m][2 * c + e / 2][e % 2 * 2 + 1]);
#pragma unroll
      for (int j = 0; j < Width / 16; ++j) {
        uint32_t b[4];
        read_columns.read(b, columns, c, j);
#pragma unroll
        for (int m = 0; m < M; ++m) {
          ptx::mma<T>(sum[m][2 * j], a[m], b[0], b[1]);
          ptx::mma<T>(sum[m][2 * j + 1], a[m], b[2], b[3]);
        }
      }
    }
  }

  // Hides scores of what isn't seen; the block's rows from `row`, columns from `column`.
  __device__ void hide(const AttentionMask& mask, int row, int column) {
    const int lane = ptx::lane();
    row += lane / 4;
    column += lane % 4 * 2;
    const int32_t *row_documents = Keys ? mask.k_documents : mask.q_documents,
                  *column_documents = Keys ? mask.q_documents : mask.k_documents;
    const int last_row = (Keys ? mask.Tk : mask.Tq) - 1, last_column = (Keys ? mask.Tq : mask.Tk) - 1;
#pragma unroll
    for (int m = 0; m < M; ++m)
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const int r = row + m * 16 + half * 8;
        const int32_t document = row_documents ? row_documents[min(r, last_row)] : 0;
#pragma unroll
        for (int j = 0; j < N; ++j)
#pragma unroll
          for (int e = 0; e < 2; ++e) {
            const int c = column + j * 8 + e, key = Keys ? r : c, query = Keys ? c : r;
            bool sees = mask.near(key - mask.position(query)) && key < mask.Tk;
            if (row_documents) sees = sees && column_documents[min(c, last_column)] == document;
            if (!sees) p[m][j][2 * half + e] = kNegativeInfinity;
          }
      }
  }

  // Dropout's bits: of row m, tile j, element e in bit (m N + j) 4 + e. `head`: of b, h.
  static __device__ uint32_t draw(const AttentionDropout& dropout, int64_t head, int Tq, int Tk, int row, int column) {
    static_assert(M * N * 4 <= 32, "32 bits");
    const RandomState state = *dropout.random;
    const int lane = ptx::lane();
    uint32_t keep = 0;
#pragma unroll 1
    for (int pair = 0; pair < 2 * M * N; ++pair) {
      const int r = row + pair / (2 * N) * 16 + pair % 2 * 8 + lane / 4, c = column + pair / 2 % N * 8 + lane % 4 * 2;
      uint32_t bits;
      if constexpr (Keys) {
        const int64_t element = (head * Tq + c) * Tk + r;
        bits = (dropout.keeps(state, element) ? 1u : 0u) | (dropout.keeps(state, element + Tk) ? 2u : 0u);
      } else {
        bits = dropout.keeps_pair(state, (head * Tq + r) * Tk + c);
      }
      keep |= bits << 2 * pair;
    }
    return keep;
  }
  static __device__ void drop(float (&x)[M][N][4], uint32_t keep, float scale) {
    each(x, [&](int m, int j, int e, float& score) { score = keep >> ((m * N + j) * 4 + e) & 1 ? score * scale : 0.0f; });
  }
};

}  // namespace heddle::cuda
