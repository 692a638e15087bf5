// o = dropout(softmax(scale * q k^T + mask)) v, fused: FlashAttention (Dao et al. 2022; Dao 2023) for a CPU's caches.
//
// An item is a block of queries of one head (with few queries: of several heads that read the same keys). It walks over
// the keys in blocks that stay in cache, with the running maximum m, sum l and output O of each row:
//   S = scale * Q K^T;  m' = max(m, rowmax(S));  P = e^(S - m');  l = e^(m - m') l + rowsum(P);  O = e^(m - m') O + P V
// and in the end o = O / l, lse = m + ln l. Blocks that the mask empties are never touched. Queries [rows][D] and outputs
// [rows][width] are dense copies, width = D rounded up to whole vectors; keys are transposed into panels per block.
#include "cpu/attention_block.h"
#include "cpu/kernels.h"

namespace heddle::cpu::HEDDLE_ISA {
namespace {

constexpr int kSums = 16;  // partial sums of a row, key j in partial j % 16

struct Workspace {
  float *q, *o, *k, *v, *scores, *sums, *keep;

  static int64_t floats(int64_t D) {
    const int64_t width = round_up(D, VW);
    return kQueries * (2 * width + kKeys + kSums) + 2 * kKeys * width + kDrawFloats;
  }
  Workspace(float* memory, int64_t D) {
    const int64_t width = round_up(D, VW);
    q = memory;
    o = q + kQueries * width;
    k = o + kQueries * width;
    v = k + kKeys * width;
    scores = v + kKeys * width;
    sums = scores + kQueries * kKeys;
    keep = sums + kQueries * kSums + kDrawMargin;
  }
};

// How the work is cut: an item is (b, kv head, `heads` of its group, `queries`).
struct Cut {
  int64_t queries, query_blocks, heads, head_blocks, items;

  // Large items read keys less often, many items keep threads busy; the bits are the same.
  explicit Cut(const AttentionShape& s) {
    const int64_t group = s.H / s.Hkv;
    queries = smaller(s.Tq, kQueries);
    heads = smaller(group, kQueries / queries);
    for (;;) {
      query_blocks = (s.Tq + queries - 1) / queries;
      head_blocks = (group + heads - 1) / heads;
      items = s.B * s.Hkv * head_blocks * query_blocks;
      if (items >= pool_threads()) return;
      if (heads > 1) {
        heads = (heads + 1) / 2;
      } else if (queries >= 8 * kTileRows) {
        queries = (queries + 1) / 2;
      } else {
        return;
      }
    }
  }
};

// The maximum of each of VW rows of VW lanes.
inline vf row_maxima(const float* lanes) {
  const float* rows[VW];
  for (int i = 0; i < VW; ++i) rows[i] = lanes + i * VW;
  vf column[VW];
  transpose_square(rows, 0, column);
  for (int step = VW / 2; step; step /= 2)
    for (int i = 0; i < step; ++i) column[i] = vmax(column[i], column[i + step]);
  return column[0];
}

// scores become P in place; the rows' maxima and sums move on; keep[r] = e^(m - m').
void softmax_block(const BlockMask& mask, const Rows& rows, const int32_t* k_documents, int keys, float* scores, float* maximum,
                   float* sums, float* keep) {
  alignas(64) float found[kQueries * VW], reference[kQueries];
  Range span{0, 0};
  for (int r = 0; r < rows.count; ++r) {
    if (r % kTileRows == 0) span = whole_vectors(hull(mask, r, static_cast<int>(smaller(kTileRows, rows.count - r))));
    float* row = scores + r * kKeys;
    if (!mask.full) mask_row(row, span, mask.row[r], mask.documents, k_documents, keys, rows.document[r]);
    vf top = splat(-kInfinity);
    for (int j = span.low; j < span.high; j += VW) top = vmax(top, load(row + j));
    store(found + r * VW, top);
  }
  for (int64_t r = rows.count; r < round_up(rows.count, VW); ++r) store(found + r * VW, splat(-kInfinity));
  for (int r = 0; r < rows.count; r += VW) {
    const vf before = load(maximum + r), m = vmax(before, row_maxima(found + r * VW));
    const vf base = select(m == splat(-kInfinity), vf{}, m);  // nothing seen yet: e^(-inf - 0) = 0
    store(reference + r, base);
    store(keep + r, exp_score(before - base));
    store(maximum + r, m);
  }
  constexpr int kParts = kSums / VW;
  for (int r = 0; r < rows.count; ++r) {
    if (r % kTileRows == 0) span = whole_vectors(hull(mask, r, static_cast<int>(smaller(kTileRows, rows.count - r))));
    float *row = scores + r * kKeys, *sum = sums + r * kSums;
    const vf base = splat(reference[r]), factor = splat(keep[r]);
    vf part[kParts] = {};
    for (int j = span.low / kSums * kSums; j < span.high; j += kSums) {
#pragma GCC unroll 4
      for (int i = 0; i < kParts; ++i) {
        const int at = j + i * VW;
        if (at < span.low || at >= span.high) continue;
        const vf p = exp_score(load(row + at) - base);
        store(row + at, p);
        part[i] = part[i] + p;
      }
    }
    for (int i = 0; i < kParts; ++i) store(sum + i * VW, fma(load(sum + i * VW), factor, part[i]));
  }
}

class Forward {
 public:
  Forward(const AttentionArgs& a, const Cut& cut) : a_(a), s_(a.s), cut_(cut) {}

  // The last queries first: in a causal mask they have the most to do.
  void run(int64_t item) const {
    const int64_t block = cut_.query_blocks - 1 - item / (cut_.items / cut_.query_blocks);
    int64_t rest = item % (cut_.items / cut_.query_blocks);
    const int64_t head_block = rest % cut_.head_blocks;
    rest /= cut_.head_blocks;
    const int64_t group = s_.H / s_.Hkv, kv_head = rest % s_.Hkv, b = rest / s_.Hkv;
    const int64_t first_head = kv_head * group + head_block * cut_.heads;
    const int64_t last_head = smaller(first_head + cut_.heads, (kv_head + 1) * group);
    const int64_t first_query = block * cut_.queries, last_query = smaller(first_query + cut_.queries, s_.Tq);
    rows_of(b, first_head, last_head, first_query, last_query, kv_head);
  }

 private:
  void rows_of(int64_t b, int64_t first_head, int64_t last_head, int64_t first_query, int64_t last_query, int64_t kv_head) const {
    const int64_t D = s_.D, width = round_up(D, VW);
    const Workspace w(pool_scratch(0, static_cast<size_t>(Workspace::floats(D))), D);
    const int queries = static_cast<int>(last_query - first_query);
    Rows rows;
    alignas(64) float maximum[kQueries], keep[kQueries];
    for (float& m : maximum) m = -kInfinity;
    Interval all{s_.Tk, 0};
    for (int64_t h = first_head; h < last_head; ++h) {
      for (int64_t i = first_query; i < last_query; ++i) {
        const Interval seen = visible_keys(s_, i);
        rows.add(seen, s_.q_documents ? s_.q_documents[b * s_.Tq + i] : 0);
        if (seen.high > 0) all = {smaller(all.low, seen.low), larger(all.high, seen.high)};
      }
      const float* q = row_at(a_.q, a_.q_stride, b, first_query, h);
      pack_rows(q, a_.q_stride[1], queries, queries, D, w.q + (h - first_head) * queries * D, D);
    }
    for (int64_t i = 0; i < rows.count * width; i += VW) store(w.o + i, vf{});
    for (int64_t i = 0; i < rows.count * kSums; i += VW) store(w.sums + i, vf{});

    for (int64_t key = all.low / kKeys * kKeys; key < all.high; key += kKeys) {
      const int keys = static_cast<int>(smaller(kKeys, s_.Tk - key));
      const int32_t* documents = s_.k_documents ? s_.k_documents + b * s_.Tk + key : nullptr;
      const BlockMask mask = mask_block(rows, key, keys, documents);
      if (!mask.any) continue;
      pack_transposed(row_at(a_.k, a_.k_stride, b, key, kv_head), a_.k_stride[1], keys, s_.Tk - key, D, w.k);
      block_scores(mask, rows.count, keys, w.q, D, w.k, D, s_.scale, w.scores);
      softmax_block(mask, rows, documents, keys, w.scores, maximum, w.sums, keep);
      if (s_.dropout > 0) {
        for (int r = 0; r < rows.count; ++r) {
          const int64_t query = (b * s_.H + first_head + r / queries) * s_.Tq + first_query + r % queries;
          drop(mask.row[r], static_cast<uint64_t>(query * s_.Tk + key), w.scores + r * kKeys, w.keep);
        }
      }
      pack_rows(row_at(a_.v, a_.v_stride, b, key, kv_head), a_.v_stride[1], keys, s_.Tk - key, D, w.v, width);
      Product p{w.scores, kKeys, 1, w.v, width, w.o, width};
      p.keep = keep;
      product(p, rows.count, static_cast<int>(width), [&](int m, int count) { return hull(mask, m, count); });
    }

    for (int r = 0; r < rows.count; ++r) {
      const int64_t h = first_head + r / queries, i = first_query + r % queries;
      finish(maximum[r], w.sums + r * kSums, w.o + r * width, a_.lse + (b * s_.H + h) * s_.Tq + i, row_at(a_.o, a_.o_stride, b, i, h));
    }
  }

  void drop(Range seen, uint64_t first, float* p, float* keep) const {
    if (seen.high <= seen.low) return;
    dropout_row(s_, first, seen.low, seen.high, keep);
    for (int j = seen.low; j < seen.high; ++j) p[j] *= keep[j];
  }

  void finish(float maximum, const float* sums, const float* sum_v, float* lse, float* o) const {
    float part[kSums];
    for (int i = 0; i < kSums; ++i) part[i] = sums[i];
    for (int step = kSums / 2; step; step /= 2)
      for (int i = 0; i < step; ++i) part[i] = part[i] + part[i + step];
    const float sum = part[0];
    if (sum == 0.0f) {
      *lse = -kInfinity;
      for (int64_t d = 0; d < s_.D; ++d) o[d] = 0.0f;
      return;
    }
    *lse = maximum + __builtin_logf(sum);
    for (int64_t d = 0; d < s_.D; ++d) o[d] = sum_v[d] / sum;
  }

  const AttentionArgs& a_;
  const AttentionShape& s_;
  const Cut& cut_;
};

}  // namespace

void attention(const AttentionArgs& a) {
  if (a.s.B == 0 || a.s.Tq == 0 || a.s.H == 0) return;
  const Cut cut(a.s);
  const Forward forward(a, cut);
  parallel(cut.items, [&](int64_t item) { forward.run(item); });
}

}  // namespace heddle::cpu::HEDDLE_ISA
