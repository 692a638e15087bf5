// o = dropout(softmax(scale * q k^T + mask)) v, fused: FlashAttention (Dao et al. 2022; Dao 2023) for a CPU's caches.
//
// A block is some queries of one head (with few queries: of several heads that read the same keys). The keys come in blocks that
// stay in cache, with the running maximum m, sum l and output O of each row:
//   S = scale * Q K^T;  m' = max(m, rowmax(S));  P = e^(S - m');  l = e^(m - m') l + rowsum(P);  O = e^(m - m') O + P V
// and in the end o = O / l, lse = m + ln l. Blocks that the mask empties are never touched. An item has several blocks of
// queries, which share a block of keys while it is packed. Queries [rows][D] and outputs [rows][width] are dense copies, width =
// D rounded up to whole vectors; keys are transposed into panels.
#include "core/error.h"
#include "cpu/attention_softmax.h"
#include "cpu/kernels.h"
#include "cpu/vecmath.h"

namespace heddle::cpu::HEDDLE_ISA {
namespace {

constexpr int kMaxBlocks = 8;       // of queries in an item
constexpr int kItemsPerThread = 4;  // so that a thread that is held up can be helped out

struct Workspace {
  float *k, *v, *scores, *keep, *q, *o, *sums;

  // q, o and sums for every block of an item.
  static int64_t floats(int64_t D, int64_t blocks) {
    const int64_t width = round_up(D, VW);
    return 2 * kKeys * width + kQueries * kKeys + kDrawFloats + blocks * kQueries * (2 * width + kSums);
  }
  Workspace(float* memory, int64_t D, int64_t blocks) {
    const int64_t width = round_up(D, VW);
    k = memory;
    v = k + kKeys * width;
    scores = v + kKeys * width;
    q = scores + kQueries * kKeys;
    o = q + blocks * kQueries * width;
    sums = o + blocks * kQueries * width;
    keep = sums + blocks * kQueries * kSums + kDrawMargin;
  }
};

// A block of queries with what is known of its rows so far.
struct QueryBlock {
  Rows rows;
  Interval seen;  // by any row
  int64_t first;  // query
  float *q, *o, *sums;
  bool fresh;  // nothing is in o and sums
  alignas(64) float maximum[kQueries];
};

struct Item {
  int64_t b, kv_head, first_head, last_head, first_query, last_query;
};

// How the work is cut: an item is (b, kv head, `heads` of its group, `blocks` blocks of `queries`).
struct Cut {
  int64_t queries, blocks, query_blocks, spans, heads, head_blocks, items;

  // Large items pack keys less often, large blocks read them less often, many items keep threads busy; the bits are the same.
  explicit Cut(const AttentionShape& s) : s_(s), threads_(pool_threads()) {
    const int64_t group = s.H / s.Hkv;
    queries = smaller(s.Tq, kQueries);
    heads = smaller(group, kQueries / queries);
    blocks = kMaxBlocks;
    for (;;) {
      query_blocks = (s.Tq + queries - 1) / queries;
      blocks = smaller(blocks, query_blocks);
      spans = (query_blocks + blocks - 1) / blocks;
      head_blocks = (group + heads - 1) / heads;
      items = s.B * s.Hkv * head_blocks * spans;
      if (items >= (blocks > 1 && threads_ > 1 ? kItemsPerThread : 1) * threads_) return;
      if (blocks > 1) {
        blocks = (blocks + 1) / 2;
      } else if (heads > 1) {
        heads = (heads + 1) / 2;
      } else if (queries >= 8 * kTileRows) {
        queries = (queries + 1) / 2;
      } else {
        return;
      }
    }
  }

  // The last queries first: in a causal mask they have the most to do.
  Item item(int64_t index) const {
    const int64_t span = spans - 1 - index / (items / spans), group = s_.H / s_.Hkv;
    int64_t rest = index % (items / spans);
    const int64_t head_block = rest % head_blocks;
    rest /= head_blocks;
    const int64_t kv_head = rest % s_.Hkv, first_head = kv_head * group + head_block * heads, first_query = span * blocks * queries;
    return {rest / s_.Hkv, kv_head,
            first_head,    smaller(first_head + heads, (kv_head + 1) * group),
            first_query,   smaller(first_query + blocks * queries, s_.Tq)};
  }

  // The item that a thread is likely to run after this one.
  int64_t after(int64_t index) const { return index + threads_; }

 private:
  const AttentionShape& s_;
  int64_t threads_;
};

class Forward {
 public:
  Forward(const AttentionArgs& a, const Cut& cut) : a_(a), s_(a.s), cut_(cut), width_(round_up(a.s.D, VW)) {}

  void run(int64_t index) const {
    const Item item = cut_.item(index);
    const Workspace w(pool_scratch(0, static_cast<size_t>(Workspace::floats(s_.D, cut_.blocks))), s_.D, cut_.blocks);
    QueryBlock blocks[kMaxBlocks];
    Interval seen{s_.Tk, 0};
    int count = 0;
    for (int64_t first = item.first_query; first < item.last_query; first += cut_.queries, ++count) {
      const int64_t row = count * kQueries;
      load_block(item, first, w.q + row * s_.D, w.o + row * width_, w.sums + row * kSums, &blocks[count]);
      seen = {smaller(seen.low, blocks[count].seen.low), larger(seen.high, blocks[count].seen.high)};
    }
    Fetch fetch;
    for (int64_t key = seen.low / kKeys * kKeys; key < seen.high; key += kKeys) {
      fetch.clear();
      if (key + kKeys < seen.high) {
        fetch_keys(item, key + kKeys, &fetch);
      } else {
        fetch_rest(item, index, &fetch);
      }
      bool packed = false;
      for (int i = 0; i < count; ++i) packed = add_keys(item, key, packed, w, &blocks[i], &fetch);
    }
    for (int i = 0; i < count; ++i) finish(item, blocks[i]);
  }

 private:
  void load_block(const Item& item, int64_t first, float* q, float* o, float* sums, QueryBlock* block) const {
    const int64_t last = smaller(first + cut_.queries, item.last_query), queries = last - first;
    block->first = first;
    block->q = q, block->o = o, block->sums = sums;
    block->seen = {s_.Tk, 0};
    for (int64_t h = item.first_head; h < item.last_head; ++h) {
      for (int64_t i = first; i < last; ++i) {
        const Interval keys = visible_keys(s_, i);
        block->rows.add(keys, s_.q_documents ? s_.q_documents[item.b * s_.Tq + i] : 0);
        if (keys.high > 0) block->seen = {smaller(block->seen.low, keys.low), larger(block->seen.high, keys.high)};
      }
      pack_rows(row_at(a_.q, a_.q_stride, item.b, first, h), a_.q_stride[1], static_cast<int>(queries), s_.Tq - first, s_.D,
                query_factor(s_), q + (h - item.first_head) * queries * s_.D, s_.D);
    }
    const int64_t rows = block->rows.count;
    block->fresh = true;
    for (int64_t i = 0; i < rows; i += VW) store(block->maximum + i, splat(-kInfinity));
  }

  // What a block of keys adds to a block of queries, unless none is seen. True once the keys are packed.
  bool add_keys(const Item& item, int64_t key, bool packed, const Workspace& w, QueryBlock* block, Fetch* fetch) const {
    const Rows& rows = block->rows;
    const int keys = static_cast<int>(smaller(kKeys, s_.Tk - key));
    if (block->seen.low >= key + keys || block->seen.high <= key) return packed;
    const int32_t* documents = s_.k_documents ? s_.k_documents + item.b * s_.Tk + key : nullptr;
    const BlockMask mask = mask_block(rows, key, keys, documents);
    if (!mask.any) return packed;
    if (!packed) pack_keys(item, key, w);
    alignas(64) float keep[kQueries];
    const bool fresh = block->fresh;
    block_scores(mask, rows.count, keys, block->q, s_.D, w.k, s_.D, w.scores, fetch);
    softmax_block(mask, rows, documents, keys, w.scores, fresh, block->maximum, block->sums, keep);
    if (s_.dropout > 0)
      for (int r = 0; r < rows.count; ++r)
        drop(mask.row[r], static_cast<uint64_t>(row_number(item, *block, r) * s_.Tk + key), w.scores + r * kKeys, w.keep);
    Product p{w.scores, kKeys, 1, w.v, width_, block->o, width_, fetch};
    if (!fresh) p.keep = keep;
    product(p, rows.count, static_cast<int>(width_), [&](int m, int) { return mask.tile[m / kTileRows]; });
    block->fresh = false;
    return true;
  }

  // f(key, keys, more, k, v) for the runs in which a block's keys and values lie: all of them, or what a page has. more: rows from there
  // on.
  template <class F>
  void each_run(const Item& item, int64_t first, F&& f) const {
    const AttentionPages& pages = a_.pages;
    const int64_t last = smaller(first + kKeys, s_.Tk);
    if (!pages.table)
      return f(first, last - first, s_.Tk - first, row_at(a_.k, a_.k_stride, item.b, first, item.kv_head),
               row_at(a_.v, a_.v_stride, item.b, first, item.kv_head));
    for (int64_t key = first, next; key < last; key = next) {
      const int64_t page = pages.table[item.b * pages.columns + key / pages.size], at = key % pages.size;
      next = smaller(last, key - at + pages.size);
      f(key, next - key, next - key, row_at(a_.k, a_.k_stride, page, at, item.kv_head), row_at(a_.v, a_.v_stride, page, at, item.kv_head));
    }
  }

  void pack_keys(const Item& item, int64_t first, const Workspace& w) const {
    each_run(item, first, [&](int64_t key, int64_t keys, int64_t more, const float* k, const float* v) {
      pack_rows(v, a_.v_stride[1], static_cast<int>(keys), more, s_.D, 1.0f, w.v + (key - first) * width_, width_);
      if (!a_.pages.table) return pack_transposed(k, a_.k_stride[1], static_cast<int>(keys), more, s_.D, w.k);
      static_assert(kSmallestPage % VW == 0 && kPanel % VW == 0, "a vector of keys lies in one page and in one panel");
      for (int64_t i = 0; i < keys; i += VW) {
        const int64_t at = key - first + i;
        pack_transposed(k + i * a_.k_stride[1], a_.k_stride[1], static_cast<int>(smaller(VW, keys - i)), more - i, s_.D,
                        w.k + at / kPanel * kPanel * s_.D + at % kPanel);
      }
    });
  }

  void fetch_keys(const Item& item, int64_t first, Fetch* fetch) const {
    each_run(item, first, [&](int64_t, int64_t keys, int64_t, const float* k, const float* v) {
      fetch->rows(k, a_.k_stride[1], keys, s_.D);
      fetch->rows(v, a_.v_stride[1], keys, s_.D);
    });
  }

  // Where the results go, and the start of the next item.
  void fetch_rest(const Item& item, int64_t index, Fetch* fetch) const {
    fetch->rows(row_at(a_.o, a_.o_stride, item.b, item.first_query, item.first_head), a_.o_stride[1], item.last_query - item.first_query,
                (item.last_head - item.first_head) * s_.D, true);
    if (cut_.after(index) >= cut_.items) return;
    const Item next = cut_.item(cut_.after(index));
    fetch->rows(row_at(a_.q, a_.q_stride, next.b, next.first_query, next.first_head), a_.q_stride[1], next.last_query - next.first_query,
                (next.last_head - next.first_head) * s_.D);
    fetch_keys(next, visible_keys(s_, next.first_query).low / kKeys * kKeys, fetch);
  }

  // Row r of a block among all rows (b, h, query).
  int64_t row_number(const Item& item, const QueryBlock& block, int r) const {
    const int64_t queries = block.rows.count / (item.last_head - item.first_head);
    return (item.b * s_.H + item.first_head + r / queries) * s_.Tq + block.first + r % queries;
  }

  void drop(Range seen, uint64_t first, float* p, float* keep) const {
    if (seen.high <= seen.low) return;
    dropout_row(s_, first, seen.low, seen.high, keep);
    for (int j = seen.low; j < seen.high; ++j) p[j] *= keep[j];
  }

  void finish(const Item& item, const QueryBlock& block) const {
    if (block.fresh) {  // no row sees anything
      for (int64_t i = 0; i < block.rows.count * width_; i += VW) store(block.o + i, vf{});
      for (int64_t i = 0; i < block.rows.count * kSums; i += VW) store(block.sums + i, vf{});
    }
    alignas(64) float sum[kQueries], lse[kQueries];
    for (int r = 0; r < block.rows.count; r += VW) {
      const vf total = fold_rows<kSums>(block.sums + r * kSums, [](vf a, vf b) { return a + b; });
      store(lse + r, select(total == vf{}, splat(-kInfinity), fma(load(block.maximum + r), splat(kLn2), log(total))));
      store(sum + r, select(total == vf{}, vf{}, splat(1.0f) / total));  // a row that sees nothing is 0
    }
    const int64_t heads = item.last_head - item.first_head, queries = block.rows.count / heads;
    int r = 0;
    for (int64_t h = item.first_head; h < item.last_head; ++h) {
      float* to = a_.lse + (item.b * s_.H + h) * s_.Tq + block.first;
      for (int64_t i = 0; i < queries; ++i, ++r) {
        to[i] = lse[r];
        scaled_row(block.o + r * width_, sum[r], s_.D, false, row_at(a_.o, a_.o_stride, item.b, block.first + i, h));
      }
    }
  }

  const AttentionArgs& a_;
  const AttentionShape& s_;
  const Cut& cut_;
  const int64_t width_;
};

// Before anything is read: of all the pages that rows have, those that no query sees, too.
void check_pages(const AttentionArgs& a) {
  const AttentionPages& pages = a.pages;
  if (!pages.table) return;
  const int64_t used = (a.s.Tk + pages.size - 1) / pages.size;
  for (int64_t b = 0; b < a.s.B; ++b)
    for (int64_t i = b * pages.columns; i < b * pages.columns + used; ++i) {
      if (pages.table[i] >= 0 && pages.table[i] < pages.count) continue;
      char message[128];
      __builtin_snprintf(message, sizeof message, "attention: pages[%lld] must be within [0, %lld), got %d", static_cast<long long>(i),
                         static_cast<long long>(pages.count), pages.table[i]);
      throw_op_error(message);
    }
}

}  // namespace

void attention(const AttentionArgs& a) {
  if (a.s.B == 0 || a.s.Tq == 0 || a.s.H == 0) return;
  check_pages(a);
  const Cut cut(a.s);
  const Forward forward(a, cut);
  parallel(cut.items, [&](int64_t item) { forward.run(item); });
}

}  // namespace heddle::cpu::HEDDLE_ISA
