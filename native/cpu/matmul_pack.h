#pragma once
// Copies a strip of an operand into panels of the layout [k][W] that the register tile reads: `full` rows of A or columns of B
// ("lanes") each. Lanes of the last panel beyond the strip hold repeated values; their results are thrown away.
#include "cpu/matmul_transpose.h"

namespace heddle::cpu::HEDDLE_ISA {
namespace {

// How far ahead memory is fetched: rows of contiguous lanes, or steps of contiguous k. Too scattered for the hardware to guess.
constexpr int64_t kRowsAhead = 16, kStepsAhead = 64;

// Lanes contiguous: rows are copied, all panels at a time, so that memory is read in long runs.
template <int W, int full>
inline void pack_copy(float* dst, int64_t panel_step, const float* src, int64_t k_step, int64_t lanes, int64_t k) {
  for (int64_t p = 0; p < k; ++p, dst += W, src += k_step) {
    for (int64_t l = 0; l < lanes; l += 16) __builtin_prefetch(src + kRowsAhead * k_step + l);
    float* d = dst;
    int64_t l = 0;
    for (; l + full <= lanes; l += full, d += panel_step) __builtin_memcpy(d, src + l, full * sizeof(float));
    if (l < lanes)
      for (int i = 0; i < full; ++i) d[i] = src[l + i < lanes ? l + i : lanes - 1];
  }
}

// k contiguous, one panel: four lanes at a time, 16 steps of k each, so that a cache line of the source is read whole. What is
// packed next lies `after` beyond src.
template <int W, int full>
inline void pack_transposed(float* dst, const float* src, int64_t lane_step, int64_t lanes, int64_t k, int64_t after) {
  constexpr int step = 16, rows = (full + 3) / 4 * 4;
  const float* row[rows];
  for (int l = 0; l < rows; ++l) row[l] = src + (l < lanes ? l : lanes - 1) * lane_step;
  const int64_t whole = k - k % step, used = lanes < rows ? (lanes + 3) / 4 * 4 : rows;
  for (int64_t p = 0; p < whole; p += step) {
    const int64_t ahead = p + kStepsAhead < k ? p + kStepsAhead : p + kStepsAhead - k + after;
    for (int64_t l = 0; l < used; l += 4) {
      float* d = dst + p * W + l;
      for (int i = 0; i < 4; ++i) __builtin_prefetch(row[l + i] + ahead);
#pragma GCC unroll 4
      for (int64_t s = p; s < p + step; s += VW, d += VW * W) {
        vf t[4];
        transpose_quads(load(row[l] + s), load(row[l + 1] + s), load(row[l + 2] + s), load(row[l + 3] + s), t);
#pragma GCC unroll 4
        for (int j = 0; j < 4; ++j) store_groups(d + j * W, 4 * W, t[j]);
      }
    }
  }
  for (int64_t p = whole; p < k; ++p)
    for (int l = 0; l < full; ++l) dst[p * W + l] = row[l][p];
}

// Lane l, step p is src[l * lane_step + p * k_step]; panel i goes to dst + i * panel_step. along_k: the same lanes of the next
// block of k are packed next, otherwise the next lanes.
template <int W, int full>
inline void pack(float* dst, int64_t panel_step, const float* src, int64_t lane_step, int64_t k_step, int64_t lanes, int64_t k,
                 bool along_k) {
  if (lane_step == 1) return pack_copy<W, full>(dst, panel_step, src, k_step, lanes, k);
  for (int64_t l = 0; l < lanes; l += full, dst += panel_step, src += full * lane_step) {
    const int64_t have = lanes - l < full ? lanes - l : full;
    if (k_step == 1) {
      pack_transposed<W, full>(dst, src, lane_step, have, k, along_k ? k : full * lane_step);
    } else {  // only where a dimension of size 1 carries an arbitrary stride
      for (int64_t p = 0; p < k; ++p)
        for (int i = 0; i < full; ++i) dst[p * W + i] = src[(i < have ? i : have - 1) * lane_step + p * k_step];
    }
  }
}

}  // namespace
}  // namespace heddle::cpu::HEDDLE_ISA
