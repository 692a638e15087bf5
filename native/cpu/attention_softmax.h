#pragma once
// What attention does to a block of scores between its products: the softmax as it runs along the keys, and its gradient.
#include "cpu/attention_block.h"

namespace heddle::cpu::HEDDLE_ISA {
namespace {

constexpr int kSums = 16;  // partial sums of a row, key j in partial j % 16

// Each of VW rows of `lanes` >= VW lanes folded into one number, pairwise: (i, i + lanes / 2), (i, i + lanes / 4), ...
template <int lanes, class F>
inline vf fold_rows(const float* from, F&& combine) {
  const float* rows[VW];
  for (int i = 0; i < VW; ++i) rows[i] = from + i * lanes;
  vf column[lanes];
  for (int j = 0; j < lanes; j += VW) transpose_square(rows, j, column + j);
  for (int step = lanes / 2; step; step /= 2)
    for (int i = 0; i < step; ++i) column[i] = combine(column[i], column[i + step]);
  return column[0];
}

// What is hidden becomes -inf; found[r]: lanes of the maximum of row r.
void mask_and_find(const BlockMask& mask, const Rows& rows, const int32_t* k_documents, int keys, float* scores, float* found) {
  each_strip(rows.count, [&](auto strip) {
    constexpr int R = decltype(strip)::rows;
    const Range span = whole_vectors(mask.tile[strip.first / kTileRows]), all = seen_by_all(mask, strip);
    float* row = scores + strip.first * kKeys;
    vf top[R];
    for (int i = 0; i < R; ++i) top[i] = splat(-kInfinity);
    for (int j = span.low; j < span.high; j += VW) {
      if (j >= all.low && j + VW <= all.high) {
#pragma GCC unroll 6
        for (int i = 0; i < R; ++i) top[i] = vmax(top[i], load(row + i * kKeys + j));
        continue;
      }
#pragma GCC unroll 6
      for (int i = 0; i < R; ++i) {
        float* at = row + i * kKeys + j;
        const vf x = masked(load(at), j, mask.row[strip.first + i], mask.documents, k_documents, keys, rows.document[strip.first + i]);
        store(at, x);
        top[i] = vmax(top[i], x);
      }
    }
    for (int i = 0; i < R; ++i) store(found + (strip.first + i) * VW, top[i]);
  });
}

// scores become P in place; the rows' maxima and sums move on; keep[r] = e^(m - m').
void softmax_block(const BlockMask& mask, const Rows& rows, const int32_t* k_documents, int keys, float* scores, bool fresh, float* maximum,
                   float* sums, float* keep) {
  alignas(64) float found[kQueries * VW], reference[kQueries];
  mask_and_find(mask, rows, k_documents, keys, scores, found);
  for (int64_t r = rows.count; r < round_up(rows.count, VW); ++r) store(found + r * VW, splat(-kInfinity));
  for (int r = 0; r < rows.count; r += VW) {
    const vf top = fold_rows<VW>(found + r * VW, [](vf a, vf b) { return vmax(a, b); });
    const vf before = load(maximum + r), m = vmax(before, top);
    const vf base = select(m == splat(-kInfinity), vf{}, m);  // nothing seen yet: e^(-inf - 0) = 0
    store(reference + r, base);
    store(keep + r, exp2_score(before - base));
    store(maximum + r, m);
  }
  constexpr int kParts = kSums / VW;
  each_strip(rows.count, [&](auto strip) {
    constexpr int R = decltype(strip)::rows;
    const Range span = whole_vectors(mask.tile[strip.first / kTileRows]);
    float *row = scores + strip.first * kKeys, *sum = sums + strip.first * kSums;
    vf base[R], part[R][kParts] = {};
    for (int i = 0; i < R; ++i) base[i] = splat(reference[strip.first + i]);
    for (int j = span.low / kSums * kSums; j < span.high; j += kSums) {
#pragma GCC unroll 4
      for (int v = 0; v < kParts; ++v) {
        const int at = j + v * VW;
        if (at < span.low || at >= span.high) continue;
#pragma GCC unroll 6
        for (int i = 0; i < R; ++i) {
          const vf p = exp2_score(load(row + i * kKeys + at) - base[i]);
          store(row + i * kKeys + at, p);
          part[i][v] = part[i][v] + p;
        }
      }
    }
    for (int i = 0; i < R; ++i)
      for (int v = 0; v < kParts; ++v) {
        float* at = sum + i * kSums + v * VW;
        store(at, fresh ? part[i][v] : fma(load(at), splat(keep[strip.first + i]), part[i][v]));
      }
  });
}

// p: scores, which become P (times what dropout keeps); ds: dP, which becomes dS. In both, what a strip does not see becomes 0.
// lse and delta are those of all rows; the block's begin at first_row, its keys at first_key. keep: kStrip rows of kDrawFloats.
void gradient_of_scores(const AttentionShape& s, const BlockMask& mask, const Rows& rows, const int32_t* k_documents, int64_t first_row,
                        int64_t first_key, int keys, const float* lse, const float* delta, float* p, float* ds, float* keep) {
  each_strip(rows.count, [&](auto strip) {
    constexpr int R = decltype(strip)::rows;
    const Range span = whole_vectors(mask.tile[strip.first / kTileRows]), all = seen_by_all(mask, strip);
    vf sum[R], less[R];
    for (int i = 0; i < R; ++i) {
      const int64_t row = first_row + strip.first + i;
      sum[i] = splat(lse[row] == -kInfinity ? 0.0f : lse[row] * kLog2E);
      less[i] = splat(delta[row]);
      if (s.dropout > 0) dropout_row(s, static_cast<uint64_t>(row * s.Tk + first_key), span.low, span.high, keep + i * kDrawFloats);
    }
    for (int j = 0; j < keys; j += VW) {
      float *weights = p + strip.first * kKeys + j, *gradients = ds + strip.first * kKeys + j;
      const bool hidden = j < span.low || j >= span.high, clear = j >= all.low && j + VW <= all.high;
#pragma GCC unroll 6
      for (int i = 0; i < R; ++i, weights += kKeys, gradients += kKeys) {
        if (hidden) {
          store(weights, vf{});
          store(gradients, vf{});
          continue;
        }
        vf x = load(weights), dp = load(gradients);
        if (!clear) x = masked(x, j, mask.row[strip.first + i], mask.documents, k_documents, keys, rows.document[strip.first + i]);
        const vf weight = exp2_score(x - sum[i]);
        vf kept = weight;
        if (s.dropout > 0) {
          const vf factor = load(keep + i * kDrawFloats + j);
          dp = dp * factor;
          kept = weight * factor;
        }
        store(weights, kept);
        store(gradients, weight * (dp - less[i]));
      }
    }
  });
}

}  // namespace
}  // namespace heddle::cpu::HEDDLE_ISA
