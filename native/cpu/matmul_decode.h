#pragma once
// Few rows times a matrix: decoding. Bound by the memory that the matrix comes from, so it is read once, in long runs, while
// each sum stays a chain in order of k (see matmul_tile.h).
#include "cpu/matmul_epilogue.h"
#include "cpu/matmul_transpose.h"

namespace heddle::cpu::HEDDLE_ISA {
namespace {

// As many rows as the registers have sums for, beside the transposed VW columns. With more, packing pays.
constexpr int kDecodeRows = VW == 16 ? 8 : 4;

// How far ahead W is fetched, into L2, in elements of each row.
constexpr int64_t kDecodeAhead = 128;

// x W^T with W (N, K) dense in k: VW rows of W at a time are transposed in registers.
// rows[l] + next: where the rows lie that come after these. So many streams are too many for the processor's own prefetching.
// total[r] = the sums of row r for VW columns of b (rows of W); k_block steps form one chain.
template <int R>
inline void decode_columns(int64_t K, int64_t k_block, const float* a, int64_t a_m, const float* const rows[VW], int64_t next, vf total[R],
                           bool add) {
  const int64_t ahead = K < kDecodeAhead ? K : kDecodeAhead;
  for (int64_t low = 0; low < K; low += k_block) {
    const int64_t high = low + k_block < K ? low + k_block : K;
    vf sum[R] = {};
    int64_t k = low;
    for (; k + VW <= high; k += VW) {
      vf column[VW];
#pragma GCC unroll 16
      for (int l = 0; l < VW; ++l) __builtin_prefetch(rows[l] + k + (k + ahead < K ? ahead : next + ahead - K), 0, 2);
      transpose_square(rows, k, column);
#pragma GCC unroll 16
      for (int q = 0; q < VW; ++q)
#pragma GCC unroll 8
        for (int r = 0; r < R; ++r) sum[r] = fma(splat(a[r * a_m + k + q]), column[q], sum[r]);
    }
    for (; k < high; ++k) {
      vf column;
      for (int l = 0; l < VW; ++l) column[l] = rows[l][k];
      for (int r = 0; r < R; ++r) sum[r] = fma(splat(a[r * a_m + k]), column, sum[r]);
    }
    for (int r = 0; r < R; ++r) total[r] = add || low ? total[r] + sum[r] : sum[r];
  }
}

// Columns [low, high) of one product of the batch; R = g.M.
template <int R>
void decode(const MatmulArgs& g, int64_t k_block, const float* a, const float* b, float* c, float* pre, const float* residual, int64_t low,
            int64_t high) {
  for (int64_t n = low; n < high; n += VW) {
    const int cols = high - n < VW ? static_cast<int>(high - n) : VW;
    const float* rows[VW];
    for (int l = 0; l < VW; ++l) rows[l] = b + (n + (l < cols ? l : cols - 1)) * g.b_n;
    vf total[R] = {};
    if (g.accumulate)
      for (int r = 0; r < R; ++r) total[r] = load_part(c + r * g.c_m + n, cols);
    decode_columns<R>(g.K, k_block, a, g.a_m, rows, VW * g.b_n, total, g.accumulate);
    for (int r = 0; r < R; ++r) store_part(c + r * g.c_m + n, total[r], cols);
    if (has_epilogue(g)) epilogue(g, c, pre, residual, 0, R, n, cols);
  }
}

// x W with W (K, N) dense in n: runs of columns, four steps of k at a time; the sums lie in L1.
void decode_straight(const MatmulArgs& g, int64_t k_block, const float* a, const float* b, float* c, float* pre, const float* residual,
                     int64_t low, int64_t high) {
  constexpr int64_t run = 512;
  alignas(64) float sums[kDecodeRows][run];
  for (int64_t n = low; n < high; n += run) {
    const int cols = high - n < run ? static_cast<int>(high - n) : static_cast<int>(run);
    for (int64_t first = 0; first < g.K; first += k_block) {
      const int64_t last = first + k_block < g.K ? first + k_block : g.K;
      __builtin_memset(sums, 0, sizeof(sums[0]) * static_cast<size_t>(g.M));
      for (int64_t k = first; k < last;) {
        const int steps = k + 4 <= last ? 4 : 1;
        const float* w = b + k * g.b_k + n;
        for (int64_t r = 0; r < g.M; ++r) {
          float* sum = sums[r];
          vf x[4];
          for (int s = 0; s < steps; ++s) x[s] = splat(a[r * g.a_m + (k + s) * g.a_k]);
          const auto column = [&](int j, auto read) {
            vf v = load(sum + j);
            v = fma(x[0], read(w + j), v);
            if (steps == 4) {
              v = fma(x[1], read(w + g.b_k + j), v);
              v = fma(x[2], read(w + 2 * g.b_k + j), v);
              v = fma(x[3], read(w + 3 * g.b_k + j), v);
            }
            store(sum + j, v);
          };
          int j = 0;
          for (; j + VW <= cols; j += VW) column(j, [](const float* p) { return load(p); });
          if (j < cols) column(j, [&](const float* p) { return load_part(p, cols - j); });
        }
        k += steps;
      }
      for (int64_t r = 0; r < g.M; ++r) {
        float* out = c + r * g.c_m + n;
        const bool add = g.accumulate || first;
        for (int j = 0; j < cols; ++j) out[j] = add ? out[j] + sums[r][j] : sums[r][j];
      }
    }
    if (has_epilogue(g)) epilogue(g, c, pre, residual, 0, static_cast<int>(g.M), n, cols);
  }
}

using Decode = void (*)(const MatmulArgs& g, int64_t k_block, const float* a, const float* b, float* c, float* pre, const float* residual,
                        int64_t low, int64_t high);
template <int R = kDecodeRows>
struct DecodeTable : DecodeTable<R - 1> {
  constexpr DecodeTable() { this->rows[R - 1] = decode<R>; }
};
template <>
struct DecodeTable<0> {
  Decode rows[kDecodeRows] = {};
};
constexpr DecodeTable<> kDecode;

}  // namespace
}  // namespace heddle::cpu::HEDDLE_ISA
