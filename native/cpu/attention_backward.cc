// Gradients of attention.cc, as in FlashAttention-2 (Dao 2023): P is computed again from the saved lse, block by block.
//   P = e^(scale * q k^T - lse);  dV = P^T dO;  dP = dO V^T;  dS = P (dP - delta), delta = rowsum(dO O);
//   dQ = scale * dS K;  dK = scale * dS^T Q
// With dropout, P in dV and dP are multiplied by 0 or 1 / (1 - p).
//
// dK and dV of a block of keys grow in order of head and query block, dQ of a row in order of key block. One thread may own a whole
// (b, kv head) and do all five products at once, or the keys' and the queries' gradients are taken in two passes (seven
// products) that split finer. Both add the same numbers in the same order.
#include "cpu/attention_softmax.h"
#include "cpu/kernels.h"

namespace heddle::cpu::HEDDLE_ISA {
namespace {

// Rows of width = D rounded up to whole vectors; kt and vt are panels (pack_transposed). q (times query_factor), d_o and dq have the
// rows of `query_blocks` blocks, dk and dv of `key_blocks`, the others of one.
struct Workspace {
  float *k, *kt, *vt, *p, *ds, *q, *d_o, *dq, *dk, *dv, *keep;

  static int64_t floats(int64_t width, int64_t query_blocks, int64_t key_blocks) {
    return (3 * query_blocks * kQueries + (3 + 2 * key_blocks) * kKeys) * width + 2 * kQueries * kKeys + kStrip * kDrawFloats;
  }
  Workspace(int64_t width, int64_t query_blocks, int64_t key_blocks) {
    k = pool_scratch(0, static_cast<size_t>(floats(width, query_blocks, key_blocks)));
    kt = k + kKeys * width;
    vt = kt + kKeys * width;
    p = vt + kKeys * width;
    ds = p + kQueries * kKeys;
    q = ds + kQueries * kKeys;
    d_o = q + query_blocks * kQueries * width;
    dq = d_o + query_blocks * kQueries * width;
    dk = dq + query_blocks * kQueries * width;
    dv = dk + key_blocks * kKeys * width;
    keep = dv + key_blocks * kKeys * width + kDrawMargin;
  }
};

// One block of queries of one head.
struct Queries {
  int64_t b, h, first;
  Rows rows;
  float *q, *d_o, *dq;
};

// One block of keys of one head.
struct Keys {
  int64_t b, kv_head, first;
  int count;
  float *dk, *dv;
};

class Backward {
 public:
  explicit Backward(const AttentionBackwardArgs& a)
      : a_(a),
        s_(a.s),
        delta_(f32(a.workspace)),
        width_(round_up(a.s.D, VW)),
        group_(a.s.H / a.s.Hkv),
        key_blocks_((a.s.Tk + kKeys - 1) / kKeys),
        query_blocks_((a.s.Tq + kQueries - 1) / kQueries),
        threads_(pool_threads()) {}

  void run() const {
    const int64_t owners = s_.B * s_.Hkv;
    if ((owners + threads_ - 1) / threads_ * threads_ * 5 <= owners * 7) {
      parallel(owners, [&](int64_t owner) { all_gradients(owner); });
      return;
    }
    parallel_range(s_.B * s_.H * s_.Tq, 256, [&](int64_t low, int64_t high) { row_deltas(low, high); });
    // Heaviest first: in a causal mask those are the first keys and the last queries.
    parallel(owners * key_blocks_, [&](int64_t item) { key_gradients(item % owners, item / owners); });
    parallel(s_.B * s_.H * query_blocks_, [&](int64_t item) {
      const int64_t head = item % (s_.B * s_.H);
      query_gradients(head / s_.H, head % s_.H, query_blocks_ - 1 - item / (s_.B * s_.H));
    });
  }

 private:
  void row_deltas(int64_t low, int64_t high) const {
    for (int64_t row = low; row < high; ++row) {
      const int64_t i = row % s_.Tq, h = row / s_.Tq % s_.H, b = row / s_.Tq / s_.H;
      const float* o = row_at(a_.o, a_.o_stride, b, i, h);
      const float* d_o = row_at(a_.d_o, a_.do_stride, b, i, h);
      Sum16 sum;
      for (int64_t d = 0; d < s_.D; d += VW) {
        const int n = static_cast<int>(smaller(VW, s_.D - d));
        const vf x = n == VW ? load(o + d) : load_part(o + d, n), y = n == VW ? load(d_o + d) : load_part(d_o + d, n);
        sum.add(static_cast<int>(d / VW % Sum16::N), x * y);
      }
      delta_[row] = sum.total();
    }
  }

  // The queries of a head are copied once, and its dq stays in the copy until all keys are through.
  void all_gradients(int64_t owner) const {
    const Workspace w(width_, query_blocks_, group_ > 1 ? key_blocks_ : 1);
    const int64_t b = owner / s_.Hkv, kv_head = owner % s_.Hkv, last = (kv_head + 1) * group_ - 1;
    Fetch fetch;
    for (int64_t h = kv_head * group_; h <= last; ++h) {
      row_deltas((b * s_.H + h) * s_.Tq, (b * s_.H + h + 1) * s_.Tq);
      for (int64_t i = 0; i < query_blocks_; ++i) {
        const Queries queries = load_queries(w, b, h, i, i);
        clear(queries.dq, queries.rows.count);
      }
      for (int64_t block = 0; block < key_blocks_; ++block) {
        const Keys keys = load_keys(w, b, kv_head, block, group_ > 1 ? block : 0);
        if (h == kv_head * group_) clear_keys(keys);
        fetch.clear();
        if (block + 1 < key_blocks_) fetch_keys(b, kv_head, block + 1, &fetch);
        if (h == last) fetch_results(keys, &fetch);
        if (block + 1 == key_blocks_) fetch.rows(row_at(a_.dq, a_.dq_stride, b, 0, h), a_.dq_stride[1], s_.Tq, s_.D, true);
        if (block + 1 == key_blocks_) fetch_head(h < last ? b * s_.H + h + 1 : (owner + threads_) * group_, &fetch);
        for (int64_t i = 0; i < query_blocks_; ++i) {
          Queries queries = queries_at(w, b, h, i, i);
          add_block(w, queries, keys, true, true, &fetch);
        }
        if (h == last) store_keys(keys);
      }
      for (int64_t i = 0; i < query_blocks_; ++i) store_queries(queries_at(w, b, h, i, i));
    }
  }

  void key_gradients(int64_t owner, int64_t block) const {
    const Workspace w(width_, 1, 1);
    const int64_t b = owner / s_.Hkv, kv_head = owner % s_.Hkv;
    const Keys keys = load_keys(w, b, kv_head, block, 0);
    Fetch fetch;
    clear_keys(keys);
    for (int64_t h = kv_head * group_; h < (kv_head + 1) * group_; ++h) {
      for (int64_t i = 0; i < query_blocks_; ++i) {
        if (!sees(i, block)) continue;
        add_block(w, load_queries(w, b, h, i, 0), keys, true, false, &fetch);
      }
    }
    store_keys(keys);
  }

  void query_gradients(int64_t b, int64_t h, int64_t block) const {
    const Workspace w(width_, 1, 1);
    const Queries queries = load_queries(w, b, h, block, 0);
    Fetch fetch;
    clear(queries.dq, queries.rows.count);
    for (int64_t i = 0; i < key_blocks_; ++i) {
      if (!sees(block, i)) continue;
      add_block(w, queries, load_keys(w, b, h / group_, i, 0), false, true, &fetch);
    }
    store_queries(queries);
  }

  const int32_t* key_documents(int64_t b, int64_t key) const { return s_.k_documents ? s_.k_documents + b * s_.Tk + key : nullptr; }

  // Whether any query of a block may see any key of another; intervals move up with the query.
  bool sees(int64_t query_block, int64_t key_block) const {
    const Interval first = visible_keys(s_, query_block * kQueries),
                   last = visible_keys(s_, smaller((query_block + 1) * kQueries, s_.Tq) - 1);
    return last.high > key_block * kKeys && first.low < (key_block + 1) * kKeys;
  }

  // Block `block` of a head, of which place `place` of the workspace has the copies.
  Queries queries_at(const Workspace& w, int64_t b, int64_t h, int64_t block, int64_t place) const {
    const int64_t at = place * kQueries * width_;
    Queries q{b, h, block * kQueries, {}, w.q + at, w.d_o + at, w.dq + at};
    const float* lse = a_.lse + (b * s_.H + h) * s_.Tq;
    for (int64_t i = q.first; i < smaller(q.first + kQueries, s_.Tq); ++i)
      q.rows.add(lse[i] == -kInfinity ? Interval{0, 0} : visible_keys(s_, i), s_.q_documents ? s_.q_documents[b * s_.Tq + i] : 0);
    return q;
  }
  Queries load_queries(const Workspace& w, int64_t b, int64_t h, int64_t block, int64_t place) const {
    const Queries q = queries_at(w, b, h, block, place);
    const int64_t rest = s_.Tq - q.first;
    pack_rows(row_at(a_.q, a_.q_stride, b, q.first, h), a_.q_stride[1], q.rows.count, rest, s_.D, query_factor(s_), q.q, width_);
    pack_rows(row_at(a_.d_o, a_.do_stride, b, q.first, h), a_.do_stride[1], q.rows.count, rest, s_.D, 1.0f, q.d_o, width_);
    return q;
  }

  Keys load_keys(const Workspace& w, int64_t b, int64_t kv_head, int64_t block, int64_t place) const {
    const int64_t key = block * kKeys, rest = s_.Tk - key, at = place * kKeys * width_;
    const int count = static_cast<int>(smaller(kKeys, rest));
    const float *k = row_at(a_.k, a_.k_stride, b, key, kv_head), *v = row_at(a_.v, a_.v_stride, b, key, kv_head);
    pack_rows(k, a_.k_stride[1], count, rest, s_.D, 1.0f, w.k, width_);
    pack_transposed(k, a_.k_stride[1], count, rest, s_.D, w.kt);
    pack_transposed(v, a_.v_stride[1], count, rest, s_.D, w.vt);
    return {b, kv_head, key, count, w.dk + at, w.dv + at};
  }

  void clear(float* rows, int count) const {
    for (int64_t i = 0; i < count * width_; i += VW) store(rows + i, vf{});
  }
  void clear_keys(const Keys& keys) const {
    clear(keys.dk, keys.count);
    clear(keys.dv, keys.count);
  }

  void fetch_keys(int64_t b, int64_t kv_head, int64_t block, Fetch* fetch) const {
    const int64_t key = block * kKeys, count = smaller(kKeys, s_.Tk - key);
    fetch->rows(row_at(a_.k, a_.k_stride, b, key, kv_head), a_.k_stride[1], count, s_.D);
    fetch->rows(row_at(a_.v, a_.v_stride, b, key, kv_head), a_.v_stride[1], count, s_.D);
  }
  // Where the gradients of some keys go.
  void fetch_results(const Keys& keys, Fetch* fetch) const {
    fetch->rows(row_at(a_.dk, a_.dk_stride, keys.b, keys.first, keys.kv_head), a_.dk_stride[1], keys.count, s_.D, true);
    fetch->rows(row_at(a_.dv, a_.dv_stride, keys.b, keys.first, keys.kv_head), a_.dv_stride[1], keys.count, s_.D, true);
  }
  // The start of a head, of B * H, that a thread is likely to work on next.
  void fetch_head(int64_t head, Fetch* fetch) const {
    if (head >= s_.B * s_.H) return;
    const int64_t b = head / s_.H, h = head % s_.H;
    fetch->rows(row_at(a_.o, a_.o_stride, b, 0, h), a_.o_stride[1], s_.Tq, s_.D);
    fetch->rows(row_at(a_.d_o, a_.do_stride, b, 0, h), a_.do_stride[1], s_.Tq, s_.D);
    fetch->rows(row_at(a_.q, a_.q_stride, b, 0, h), a_.q_stride[1], s_.Tq, s_.D);
    fetch_keys(b, h / group_, 0, fetch);
  }

  // What a block of queries and a block of keys add to each other's gradients.
  void add_block(const Workspace& w, const Queries& q, const Keys& k, bool to_keys, bool to_queries, Fetch* fetch) const {
    const BlockMask mask = mask_block(q.rows, k.first, k.count, key_documents(k.b, k.first));
    if (!mask.any) return;
    block_gradients(w, q, k, mask, fetch);
    if (to_keys) {
      Range seeing[(kKeys + kTileRows - 1) / kTileRows];
      for (int m = 0; m < k.count; m += kTileRows)
        seeing[m / kTileRows] = rows_seeing(mask, q.rows.count, m, m ? seeing[m / kTileRows - 1].low : 0);
      const auto depth = [&](int m, int) { return seeing[m / kTileRows]; };
      product({w.p, 1, kKeys, q.d_o, width_, k.dv, width_, fetch, true}, k.count, static_cast<int>(width_), depth);
      product({w.ds, 1, kKeys, q.q, width_, k.dk, width_, fetch, true}, k.count, static_cast<int>(width_), depth);
    }
    if (to_queries)
      product({w.ds, kKeys, 1, w.k, width_, q.dq, width_, fetch, true}, q.rows.count, static_cast<int>(width_),
              [&](int m, int) { return mask.tile[m / kTileRows]; });
  }

  // w.p = P (with dropout), w.ds = dS.
  void block_gradients(const Workspace& w, const Queries& q, const Keys& k, const BlockMask& mask, Fetch* fetch) const {
    const int rows = q.rows.count;
    block_scores(mask, rows, k.count, q.q, width_, w.kt, s_.D, w.p, fetch);
    block_scores(mask, rows, k.count, q.d_o, width_, w.vt, s_.D, w.ds, fetch);
    const int64_t first_row = (q.b * s_.H + q.h) * s_.Tq + q.first;
    gradient_of_scores(s_, mask, q.rows, key_documents(k.b, k.first), first_row, k.first, k.count, a_.lse, delta_, w.p, w.ds, w.keep);
  }

  // The rows that see any of the keys of a register tile at m, none of them before `from`.
  static Range rows_seeing(const BlockMask& mask, int rows, int m, int from) {
    Range r{from, rows};
    const auto sees = [&](int i) { return mask.row[i].low < m + kTileRows && mask.row[i].high > m; };
    while (r.low < r.high && !sees(r.low)) ++r.low;
    if (r.low == r.high) return {from, from};
    while (!sees(r.high - 1)) --r.high;
    return r;
  }

  void store_queries(const Queries& q) const {
    for (int r = 0; r < q.rows.count; ++r)
      scaled_row(q.dq + r * width_, s_.scale, s_.D, a_.accumulate_dq, row_at(a_.dq, a_.dq_stride, q.b, q.first + r, q.h));
  }
  void store_keys(const Keys& k) const {
    for (int j = 0; j < k.count; ++j) {
      scaled_row(k.dk + j * width_, kLn2, s_.D, a_.accumulate_dk, row_at(a_.dk, a_.dk_stride, k.b, k.first + j, k.kv_head));
      scaled_row(k.dv + j * width_, 1.0f, s_.D, a_.accumulate_dv, row_at(a_.dv, a_.dv_stride, k.b, k.first + j, k.kv_head));
    }
  }

  const AttentionBackwardArgs& a_;
  const AttentionShape& s_;
  float* const delta_;  // [B][H][Tq]
  const int64_t width_, group_, key_blocks_, query_blocks_, threads_;
};

}  // namespace

size_t attention_backward_workspace(const AttentionBackwardArgs& a, int) {
  return static_cast<size_t>(a.s.B * a.s.H * a.s.Tq) * sizeof(float);
}

void attention_backward(const AttentionBackwardArgs& a) {
  if (a.s.B == 0 || a.s.H == 0) return;
  Backward(a).run();
}

}  // namespace heddle::cpu::HEDDLE_ISA
