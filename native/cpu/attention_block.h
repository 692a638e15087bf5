#pragma once
// What the forward and the backward of attention share: the mask as one interval of keys per query, packed blocks, scores,
// exponentials, dropout.
//
// Work goes by blocks of kQueries x kKeys. Block borders are multiples of kKeys from key 0, for every query and every shape, and
// a key that a query does not see changes none of the query's bits. Hence a row depends on its own data and keys only:
// not on the queries beside it, on what was skipped, or on how the rows were shared out.
#include "cpu/attention_tile.h"
#include "cpu/matmul_transpose.h"
#include "cpu/philox.h"
#include "ops/backend.h"

namespace heddle::cpu::HEDDLE_ISA {
namespace {

constexpr int kQueries = 128, kKeys = 128;
static_assert(kKeys % kPanel == 0, "a block of keys is whole panels");

constexpr float kInfinity = __builtin_inff();

inline int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }
inline int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }
inline int64_t round_up(int64_t n, int64_t step) { return (n + step - 1) / step * step; }

// Row (b, t, h) of a strided (B, T, H, D) array.
inline const float* row_at(const void* base, const int64_t stride[3], int64_t b, int64_t t, int64_t h) {
  return static_cast<const float*>(base) + b * stride[0] + t * stride[1] + h * stride[2];
}
inline float* row_at(void* base, const int64_t stride[3], int64_t b, int64_t t, int64_t h) {
  return static_cast<float*>(base) + b * stride[0] + t * stride[1] + h * stride[2];
}

// ---- the mask ----

struct Interval {
  int64_t low, high;  // keys [low, high)
};

// The keys that query i sees, documents apart.
inline Interval visible_keys(const AttentionShape& s, int64_t i) {
  const int64_t position = i + s.Tk - s.Tq;
  Interval keys{0, s.Tk};
  if (s.causal) keys.high = position + 1;
  if (s.window > 0) {
    const int64_t window = smaller(s.window, s.Tq + s.Tk);
    keys.low = larger(0, position - window + 1);
    if (!s.causal) keys.high = smaller(s.Tk, position + window);
  }
  if (keys.high <= keys.low) keys = {0, 0};
  return keys;
}

// The rows of one block of queries.
struct Rows {
  int count = 0;
  Interval keys[kQueries];  // seen over the whole sequence
  int32_t document[kQueries];
  int32_t document_min = 0, document_max = 0;

  void add(Interval seen, int32_t d) {
    keys[count] = seen;
    document[count] = d;
    document_min = count && document_min < d ? document_min : d;
    document_max = count && document_max > d ? document_max : d;
    ++count;
  }
};

// The hull of what rows [0, count) see.
inline Range hull(const Range* rows, int count) {
  Range h{kKeys, 0};
  for (int r = 0; r < count; ++r) {
    const Range row = rows[r];
    if (row.high <= row.low) continue;
    if (row.low < h.low) h.low = row.low;
    if (row.high > h.high) h.high = row.high;
  }
  return h.high > h.low ? h : Range{0, 0};
}

// One block of queries against one block of keys: what each row sees of it, relative to the block's first key.
struct BlockMask {
  Range row[kQueries];
  Range tile[(kQueries + kTileRows - 1) / kTileRows];  // the hull of what the rows of a register tile see
  bool any;                                            // some row sees something
  bool full;                                           // every row sees all keys of a whole block
  bool documents;                                      // equality of documents must be looked at
};

inline BlockMask mask_block(const Rows& rows, int64_t first_key, int keys, const int32_t* k_documents) {
  BlockMask mask;
  mask.any = false;
  mask.full = keys == kKeys;
  for (int r = 0; r < rows.count; ++r) {
    const int64_t low = larger(rows.keys[r].low - first_key, 0), high = smaller(rows.keys[r].high - first_key, keys);
    mask.row[r] = low < high ? Range{static_cast<int>(low), static_cast<int>(high)} : Range{0, 0};
    mask.any |= low < high;
    mask.full &= low == 0 && high == kKeys;
  }
  for (int m = 0; m < rows.count; m += kTileRows)
    mask.tile[m / kTileRows] = hull(mask.row + m, static_cast<int>(smaller(kTileRows, rows.count - m)));
  mask.documents = false;
  if (k_documents && mask.any) {
    int32_t low = k_documents[0], high = low;
    for (int j = 1; j < keys; ++j) {
      low = k_documents[j] < low ? k_documents[j] : low;
      high = k_documents[j] > high ? k_documents[j] : high;
    }
    if (rows.document_max < low || rows.document_min > high) mask.any = false;
    mask.documents = !(low == high && rows.document_min == rows.document_max);
    mask.full &= !mask.documents;
  }
  return mask;
}

inline Range whole_vectors(Range r) { return {r.low / VW * VW, (r.high + VW - 1) / VW * VW}; }

// Scores and what follows go by so many rows at a time, a part of a register tile: they share its whole vectors of keys, so that
// loops end in the same place, and their chains run side by side.
constexpr int kStrip = VW == 16 ? kTileRows : 2;
static_assert(kTileRows % kStrip == 0, "a strip lies in one tile");

template <int R>
struct Strip {
  static constexpr int rows = R;
  int first;
};
// f(strip) for all rows, the last ones alone.
template <class F>
inline void each_strip(int rows, F&& f) {
  int r = 0;
  for (; r + kStrip <= rows; r += kStrip) f(Strip<kStrip>{r});
  for (; r < rows; ++r) f(Strip<1>{r});
}

// The keys of a block that all rows of a strip see for certain; the others must be looked at one by one.
template <int R>
inline Range seen_by_all(const BlockMask& mask, Strip<R> strip) {
  if (mask.documents) return {0, 0};
  Range all = mask.row[strip.first];
  for (int i = 1; i < R; ++i) {
    const Range row = mask.row[strip.first + i];
    if (row.low > all.low) all.low = row.low;
    if (row.high < all.high) all.high = row.high;
  }
  return all;
}

// Scores of keys from j on that the row does not see become -inf.
inline vf masked(vf scores, int j, Range seen, bool documents, const int32_t* k_documents, int keys, int32_t document) {
  const vi key = lane_numbers() + j;
  vi hidden = (key < seen.low) | (key >= seen.high);
  if (documents) {
    vi d{};
    __builtin_memcpy(&d, k_documents + j, static_cast<unsigned>(smaller(VW, keys - j)) * 4u);
    hidden |= d != document;
  }
  return select(hidden, splat(-kInfinity), scores);
}

// ---- packing ----

// `available` rows from `from` on are the array's, and the packing asks for them kAhead rows early, if nothing has before.
constexpr int kAhead = 16;

// Rows of D elements, times `factor`, to dense rows of `width` >= D, zero behind D.
inline void pack_rows(const float* from, int64_t stride, int rows, int64_t available, int64_t D, float factor, float* to, int64_t width) {
  for (int r = 0; r < rows; ++r) {
    const float* x = from + r * stride;
    if (r + kAhead < available)
      for (int64_t d = 0; d < D; d += 16) __builtin_prefetch(x + kAhead * stride + d);
    float* y = to + r * width;
    int64_t d = 0;
    for (; d + VW <= D; d += VW) store(y + d, load(x + d) * factor);
    if (d < D) store_part(y + d, load_part(x + d, static_cast<int>(D - d)) * factor, static_cast<int>(D - d));
    for (d = D; d < width; ++d) y[d] = 0.0f;
  }
}

// A dense row of whole vectors, times `factor`, to D elements, or added to them.
inline void scaled_row(const float* from, float factor, int64_t D, bool add, float* to) {
  int64_t d = 0;
  for (; d + VW <= D; d += VW) store(to + d, add ? load(to + d) + load(from + d) * factor : load(from + d) * factor);
  if (d == D) return;
  const int rest = static_cast<int>(D - d);
  const vf x = load(from + d) * factor;
  store_part(to + d, add ? load_part(to + d, rest) + x : x, rest);
}

// Keys (rows) [0, keys) transposed to panels: to[panel][d][kPanel], zero behind the last key.
inline void pack_transposed(const float* from, int64_t stride, int keys, int64_t available, int64_t D, float* to) {
  for (int first = 0; first < keys; first += VW) {
    const float* x = from + first * stride;
    float* y = to + first / kPanel * kPanel * D + first % kPanel;
    const int count = keys - first < VW ? keys - first : VW;
    for (int64_t i = first + kAhead; i < smaller(first + kAhead + VW, available); ++i)
      for (int64_t d = 0; d < D; d += 16) __builtin_prefetch(from + i * stride + d);
    int64_t d = 0;
    if (count == VW) {
      const float* rows[VW];
      for (int i = 0; i < VW; ++i) rows[i] = x + i * stride;
      for (; d + VW <= D; d += VW) {
        vf column[VW];
        transpose_square(rows, d, column);
        for (int i = 0; i < VW; ++i) store(y + (d + i) * kPanel, column[i]);
      }
    }
    for (; d < D; ++d)
      for (int i = 0; i < VW; ++i) y[d * kPanel + i] = i < count ? x[i * stride + d] : 0.0f;
  }
}

// ---- scores ----

// Scores are taken to the base 2: log2(e) goes into the queries together with the scale, and e^x = 2^(log2(e) x) needs no more
// multiplication.
constexpr float kLog2E = 1.44269504f, kLn2 = 0.693147181f;
inline float query_factor(const AttentionShape& s) { return s.scale * kLog2E; }

// scores[r][j] = sum_d q[r][d] * k[j][d], for the whole vectors of each row tile's hull; the rest is left as it was.
inline void block_scores(const BlockMask& mask, int rows, int keys, const float* q, int64_t q_stride, const float* k_panels, int64_t D,
                         float* scores, Fetch* fetch) {
  for (int first = 0; first < keys; first += kPanel) {
    const Product p{q, q_stride, 1, k_panels + first * D, kPanel, scores + first, kKeys, fetch};
    for (int m = 0; m < rows; m += kTileRows) {
      const int count = rows - m < kTileRows ? rows - m : kTileRows;
      Range span = whole_vectors(mask.tile[m / kTileRows]);
      if (span.low < first) span.low = first;
      if (span.high > first + kPanel) span.high = first + kPanel;
      if (span.high <= span.low) continue;
      const int skipped = span.low - first;
      run_tile(count, (span.high - span.low) / VW, p, m, D, p.b + skipped, p.c + skipped);
    }
  }
}

// 2^x for x < 128, as it is for a score less its row's maximum, within 1 ulp; 0 from -127 on down. NaN stays.
inline vf exp2_score(vf x) {
  x = vmax(splat(-127.0f), x);
  const vf magic = splat(12582912.0f + 127.0f);  // adding it rounds to an integer n in the low bits, an exponent's bias included
  const vf shifted = x + magic, r = x - (shifted - magic);
  vf p = splat(1.53553674e-4f);  // 2^r for |r| <= 1/2: relative error 2e-9
  p = fma(p, r, splat(1.33988797e-3f));
  p = fma(p, r, splat(9.61843692e-3f));
  p = fma(p, r, splat(5.55033237e-2f));
  p = fma(p, r, splat(2.40226477e-1f));
  p = fma(p, r, splat(6.93147182e-1f));
  p = fma(p, r, splat(1.0f));
  return p * bits_to_float(float_to_bits(shifted) << 23);  // 2^n; a float of bits 0 for n = -127
}

// ---- dropout ----

// Memory for a row of factors: draws come in whole vectors of counter blocks, which reach over both ends.
constexpr int kDrawMargin = 16, kDrawFloats = kDrawMargin + kKeys + 4 * VW;

// keep[j] = 1 / (1 - p) for the kept elements first + j, 0 for the dropped, j in [low, high). keep[-3] to keep[high + 4 * VW) is
// written: pass kDrawMargin behind the start of kDrawFloats.
inline void dropout_row(const AttentionShape& s, uint64_t first, int low, int high, float* keep) {
  const bool none = s.dropout >= 1;
  const vu threshold = drop_threshold(s.dropout) - vu{};
  const vf scale = splat(none ? 0.0f : 1.0f / (1.0f - s.dropout));
  const RandomState& random = *s.random;
  const PhiloxKeys keys(random.seed_low, random.seed_high);
  const uint64_t start = (first + static_cast<uint64_t>(low)) / 4, end = first + static_cast<uint64_t>(high);
  for (uint64_t block = start; block * 4 < end; block += VW) {
    Philox draws = philox_blocks(keys, block, s.stream, random.step);
    interleave(draws.x);
    float* out = keep + static_cast<int64_t>(block * 4 - first);
    for (int i = 0; i < 4; ++i) store(out + i * VW, select((vi)(draws.x[i] >= threshold), scale, vf{}));
  }
}

}  // namespace
}  // namespace heddle::cpu::HEDDLE_ISA
