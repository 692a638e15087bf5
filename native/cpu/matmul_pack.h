#pragma once
// Copies a strip of an operand into panels of the layout [k][W] that the register tile reads: `full` rows of A or columns of B
// ("lanes") each. Lanes of the last panel beyond the strip hold anything; their results are thrown away.
#include "cpu/matmul_numbers.h"
#include "cpu/matmul_transpose.h"

namespace heddle::cpu::HEDDLE_ISA {
namespace {

// How far ahead memory is fetched: rows of contiguous lanes, or steps of contiguous k. Too scattered for the hardware to guess.
constexpr int64_t kRowsAhead = 16, kStepsAhead = 64;
constexpr int64_t kMostDepth = 256;  // k that is packed at a time, at most

// n lanes, with zeros up to the panel's W.
template <int W>
inline void copy_lanes(float* dst, const float* src, int n) {
#pragma GCC unroll 4
  for (int i = 0; i < W; i += VW) store(dst + i, n - i >= VW ? load(src + i) : load_part(src + i, n - i > 0 ? n - i : 0));
}

// Lanes contiguous: rows are copied, all panels at a time, so that memory is read in long runs.
template <int W, int full>
inline void pack_copy(float* dst, int64_t panel_step, const float* src, int64_t k_step, int64_t lanes, int64_t k) {
  for (int64_t p = 0; p < k; ++p, dst += W, src += k_step) {
    for (int64_t l = 0; l < lanes; l += 16) __builtin_prefetch(src + kRowsAhead * k_step + l);
    float* d = dst;
    int64_t l = 0;
    for (; l + full <= lanes; l += full, d += panel_step) copy_lanes<W>(d, src + l, full);
    if (l < lanes) copy_lanes<W>(d, src + l, static_cast<int>(lanes - l));
  }
}

// k contiguous, one panel: VW lanes at a time, 16 steps of k each, so that a cache line of the source is read whole. What is
// packed next lies `after` beyond src.
template <int W, int full>
inline void pack_transposed(float* dst, const float* src, int64_t lane_step, int64_t lanes, int64_t k, int64_t after) {
  constexpr int step = 16;
  const float* row[W];
  for (int l = 0; l < W; ++l) row[l] = src + (l < lanes ? l : lanes - 1) * lane_step;
  const int64_t whole = k - k % step;
  for (int64_t p = 0; p < whole; p += step) {
    const int64_t ahead = p + kStepsAhead < k ? p + kStepsAhead : p + kStepsAhead - k + after;
#pragma GCC unroll 2
    for (int l = 0; l < W; l += VW) {
      if (l >= lanes) break;
      for (int i = l; i < l + VW && i < full; ++i) __builtin_prefetch(row[i] + ahead);
      float* d = dst + p * W + l;
#pragma GCC unroll 4
      for (int64_t s = p; s < p + step; s += 4, d += 4 * W) {
        vf column[4];
        transpose_rows(row + l, s, column);
#pragma GCC unroll 4
        for (int j = 0; j < 4; ++j) store(d + j * W, column[j]);
      }
    }
  }
  for (int64_t p = whole; p < k; ++p)
    for (int l = 0; l < full; ++l) dst[p * W + l] = row[l][p];
}

#if defined(__AVX512BF16__)
// Lanes contiguous: two rows at a time become one of pairs.
template <int W, int full>
inline void pack_pairs(float* dst, int64_t panel_step, const float* src, int64_t k_step, int64_t lanes, int64_t k) {
  for (int64_t p = 0; p < k; p += 2, dst += W, src += 2 * k_step) {
    for (int64_t l = 0; l < lanes; l += 16) {
      __builtin_prefetch(src + kRowsAhead * k_step + l);
      __builtin_prefetch(src + (kRowsAhead + 1) * k_step + l);
    }
    float* d = dst;
    for (int64_t l = 0; l < lanes; l += full, d += panel_step) {
      const int64_t have = lanes - l < full ? lanes - l : full;
      for (int i = 0; i < W; i += VW) {
        const int n = static_cast<int>(have - i < 0 ? 0 : have - i < VW ? have - i : VW);
        const vf odd = p + 1 < k ? load_part(src + k_step + l + i, n) : vf{};
        store(d + i, pairs(load_part(src + l + i, n), odd));
      }
    }
  }
  for (int64_t step = (k + 1) / 2; step < BF16::steps(k); ++step, dst += W)
    for (int64_t l = 0, at = 0; l < lanes; l += full, at += panel_step) __builtin_memset(dst + at, 0, sizeof(float) * W);
}

// k contiguous, one panel: the rows become pairs, then those are transposed like floats.
template <int W, int full>
inline void pack_neighbours(float* dst, const float* src, int64_t lane_step, int64_t lanes, int64_t k) {
  alignas(64) float rows[W * kMostDepth / 2];
  for (int64_t l = 0; l < lanes; ++l) {
    const float* row = src + l * lane_step;
    float* to = rows + l * kMostDepth / 2;
    int64_t p = 0;
    for (; p + 2 * VW <= k; p += 2 * VW) {
      __builtin_prefetch(row + full * lane_step + p);
      __builtin_prefetch(row + full * lane_step + p + VW);
      store(to + p / 2, neighbours(load(row + p), load(row + p + VW)));
    }
    if (p < k) {
      const int n = static_cast<int>(k - p);
      store(to + p / 2, neighbours(load_part(row + p, n < VW ? n : VW), load_part(row + p + VW, n > VW ? n - VW : 0)));
    }
  }
  pack_transposed<W, full>(dst, rows, kMostDepth / 2, lanes, BF16::steps(k), 0);
}
#endif

// Lane l, element p of k is src[l * lane_step + p * k_step]; panel i goes to dst + i * panel_step. along_k: the same lanes of the next
// block of k are packed next, otherwise the next lanes.
template <class Numbers, int W, int full>
inline void pack(float* dst, int64_t panel_step, const float* src, int64_t lane_step, int64_t k_step, int64_t lanes, int64_t k,
                 bool along_k) {
  constexpr bool plain = Numbers::kDepth == 1;
  if (lane_step == 1) {
    if constexpr (plain)
      return pack_copy<W, full>(dst, panel_step, src, k_step, lanes, k);
    else
      return pack_pairs<W, full>(dst, panel_step, src, k_step, lanes, k);
  }
  for (int64_t l = 0; l < lanes; l += full, dst += panel_step, src += full * lane_step) {
    const int64_t have = lanes - l < full ? lanes - l : full;
    if (k_step != 1) {  // only where a dimension of size 1 carries an arbitrary stride
      alignas(64) float rows[W * kMostDepth];
      for (int i = 0; i < have; ++i)
        for (int64_t p = 0; p < k; ++p) rows[i * kMostDepth + p] = src[i * lane_step + p * k_step];
      pack<Numbers, W, full>(dst, panel_step, rows, kMostDepth, 1, have, k, along_k);
    } else if constexpr (plain) {
      pack_transposed<W, full>(dst, src, lane_step, have, k, along_k ? k : full * lane_step);
    } else {
      pack_neighbours<W, full>(dst, src, lane_step, have, k);
    }
  }
}

}  // namespace
}  // namespace heddle::cpu::HEDDLE_ISA
