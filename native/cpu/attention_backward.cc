// Gradients of attention.cc, as in FlashAttention-2 (Dao 2023): P is computed again from the saved lse, block by block.
//   P = e^(scale * q k^T - lse);  dV = P^T dO;  dP = dO V^T;  dS = P (dP - delta), delta = rowsum(dO O);
//   dQ = scale * dS K;  dK = scale * dS^T Q
// With dropout, P in dV and dP are multiplied by 0 or 1 / (1 - p).
//
// Key blocks are the outer loop: dK and dV of a block grow in order of head and query block, dQ of a row in order of key block. One
// thread may own a whole (b, kv head) and do all five products at once, or the keys' and the queries' gradients are taken
// in two passes (seven products) that split finer. Both add the same numbers in the same order.
#include "cpu/attention_block.h"
#include "cpu/kernels.h"

namespace heddle::cpu::HEDDLE_ISA {
namespace {

// Blocks [kQueries] or [kKeys][width], width = D rounded up to whole vectors; kt and vt are panels (pack_transposed).
struct Workspace {
  float *q, *d_o, *dq, *k, *kt, *vt, *dk, *dv, *p, *ds, *keep;

  static int64_t floats(int64_t width) { return (3 * kQueries + 5 * kKeys) * width + 2 * kQueries * kKeys + kDrawFloats; }
  Workspace(float* memory, int64_t width) {
    q = memory;
    d_o = q + kQueries * width;
    dq = d_o + kQueries * width;
    k = dq + kQueries * width;
    kt = k + kKeys * width;
    vt = kt + kKeys * width;
    dk = vt + kKeys * width;
    dv = dk + kKeys * width;
    p = dv + kKeys * width;
    ds = p + kQueries * kKeys;
    keep = ds + kQueries * kKeys + kDrawMargin;
  }
};

class Backward {
 public:
  explicit Backward(const AttentionBackwardArgs& a)
      : a_(a),
        s_(a.s),
        delta_(f32(a.workspace)),
        width_(round_up(a.s.D, VW)),
        key_blocks_((a.s.Tk + kKeys - 1) / kKeys),
        query_blocks_((a.s.Tq + kQueries - 1) / kQueries) {}

  void run() const {
    parallel_range(s_.B * s_.H * s_.Tq, 256, [&](int64_t low, int64_t high) { row_deltas(low, high); });
    const int64_t owners = s_.B * s_.Hkv, threads = pool_threads();
    if ((owners + threads - 1) / threads * threads * 5 <= owners * 7) {
      parallel(owners, [&](int64_t item) { all_gradients(item / s_.Hkv, item % s_.Hkv); });
      return;
    }
    // Heaviest first: in a causal mask those are the first keys and the last queries.
    parallel(owners * key_blocks_, [&](int64_t item) {
      const int64_t owner = item % owners;
      key_gradients(owner / s_.Hkv, owner % s_.Hkv, item / owners, false);
    });
    parallel(s_.B * s_.H * query_blocks_, [&](int64_t item) {
      const int64_t head = item % (s_.B * s_.H);
      query_gradients(head / s_.H, head % s_.H, query_blocks_ - 1 - item / (s_.B * s_.H));
    });
  }

 private:
  Workspace workspace() const { return Workspace(pool_scratch(0, static_cast<size_t>(Workspace::floats(width_))), width_); }

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

  void all_gradients(int64_t b, int64_t kv_head) const {
    const int64_t group = s_.H / s_.Hkv;
    for (int64_t h = kv_head * group; h < (kv_head + 1) * group; ++h) clear_dq(b, h, 0, s_.Tq);
    for (int64_t block = 0; block < key_blocks_; ++block) key_gradients(b, kv_head, block, true);
  }

  // dk, dv of a block of keys; what the block adds to dq if asked.
  void key_gradients(int64_t b, int64_t kv_head, int64_t block, bool with_dq) const {
    const Workspace w = workspace();
    const int64_t key = block * kKeys, group = s_.H / s_.Hkv;
    const int keys = static_cast<int>(smaller(kKeys, s_.Tk - key));
    load_keys(w, b, kv_head, key, keys);
    for (int64_t i = 0; i < keys * width_; i += VW) {
      store(w.dk + i, vf{});
      store(w.dv + i, vf{});
    }
    for (int64_t h = kv_head * group; h < (kv_head + 1) * group; ++h) {
      for (int64_t query = 0; query < s_.Tq; query += kQueries) {
        const Rows rows = query_rows(b, h, query);
        const BlockMask mask = mask_block(rows, key, keys, key_documents(b, key));
        if (!mask.any) continue;
        load_queries(w, b, h, query, rows.count);
        block_gradients(w, rows, mask, b, h, query, key, keys);
        const auto queries_of = [&](int m, int count) { return seeing(mask, rows.count, m, count); };
        Product product_v{w.p, 1, kKeys, w.d_o, width_, w.dv, width_}, product_k{w.ds, 1, kKeys, w.q, width_, w.dk, width_};
        product_v.add = product_k.add = true;
        product(product_v, keys, static_cast<int>(width_), queries_of);
        product(product_k, keys, static_cast<int>(width_), queries_of);
        if (with_dq) add_dq(w, mask, b, h, query, rows.count);
      }
    }
    store_keys(w.dk, s_.scale, keys, row_at(a_.dk, a_.dk_stride, b, key, kv_head), a_.dk_stride[1], a_.accumulate_dk);
    store_keys(w.dv, 1.0f, keys, row_at(a_.dv, a_.dv_stride, b, key, kv_head), a_.dv_stride[1], a_.accumulate_dv);
  }

  void query_gradients(int64_t b, int64_t h, int64_t block) const {
    const Workspace w = workspace();
    const int64_t query = block * kQueries;
    const Rows rows = query_rows(b, h, query);
    clear_dq(b, h, query, query + rows.count);
    load_queries(w, b, h, query, rows.count);
    for (int64_t key = 0; key < s_.Tk; key += kKeys) {
      const int keys = static_cast<int>(smaller(kKeys, s_.Tk - key));
      const BlockMask mask = mask_block(rows, key, keys, key_documents(b, key));
      if (!mask.any) continue;
      load_keys(w, b, h / (s_.H / s_.Hkv), key, keys);
      block_gradients(w, rows, mask, b, h, query, key, keys);
      add_dq(w, mask, b, h, query, rows.count);
    }
  }

  const int32_t* key_documents(int64_t b, int64_t key) const { return s_.k_documents ? s_.k_documents + b * s_.Tk + key : nullptr; }

  Rows query_rows(int64_t b, int64_t h, int64_t query) const {
    Rows rows;
    const float* lse = a_.lse + (b * s_.H + h) * s_.Tq;
    for (int64_t i = query; i < smaller(query + kQueries, s_.Tq); ++i)
      rows.add(lse[i] == -kInfinity ? Interval{0, 0} : visible_keys(s_, i), s_.q_documents ? s_.q_documents[b * s_.Tq + i] : 0);
    return rows;
  }

  void load_keys(const Workspace& w, int64_t b, int64_t kv_head, int64_t key, int keys) const {
    const float* k = row_at(a_.k, a_.k_stride, b, key, kv_head);
    const float* v = row_at(a_.v, a_.v_stride, b, key, kv_head);
    pack_rows(k, a_.k_stride[1], keys, s_.Tk - key, s_.D, w.k, width_);
    pack_transposed(k, a_.k_stride[1], keys, s_.Tk - key, s_.D, w.kt);
    pack_transposed(v, a_.v_stride[1], keys, s_.Tk - key, s_.D, w.vt);
  }

  void load_queries(const Workspace& w, int64_t b, int64_t h, int64_t query, int count) const {
    pack_rows(row_at(a_.q, a_.q_stride, b, query, h), a_.q_stride[1], count, s_.Tq - query, s_.D, w.q, width_);
    pack_rows(row_at(a_.d_o, a_.do_stride, b, query, h), a_.do_stride[1], count, s_.Tq - query, s_.D, w.d_o, width_);
  }

  // w.p = P (with dropout), w.ds = dS.
  void block_gradients(const Workspace& w, const Rows& rows, const BlockMask& mask, int64_t b, int64_t h, int64_t query, int64_t key,
                       int keys) const {
    block_scores(mask, rows.count, keys, w.q, width_, w.kt, s_.D, s_.scale, w.p);
    block_scores(mask, rows.count, keys, w.d_o, width_, w.vt, s_.D, 1.0f, w.ds);
    const int64_t first_row = (b * s_.H + h) * s_.Tq + query;
    const int filled = static_cast<int>(round_up(keys, VW));
    Range span{0, 0};
    for (int r = 0; r < rows.count; ++r) {
      if (r % kTileRows == 0) span = whole_vectors(hull(mask, r, static_cast<int>(smaller(kTileRows, rows.count - r))));
      float *p = w.p + r * kKeys, *ds = w.ds + r * kKeys;
      for (int j = 0; j < filled; j += VW) {
        if (j >= span.low && j < span.high) continue;
        store(p + j, vf{});
        store(ds + j, vf{});
      }
      if (!mask.full) mask_row(p, span, mask.row[r], mask.documents, key_documents(b, key), keys, rows.document[r]);
      const float sum = a_.lse[first_row + r];
      const vf lse = splat(sum == -kInfinity ? 0.0f : sum), delta = splat(delta_[first_row + r]);
      if (s_.dropout > 0) dropout_row(s_, static_cast<uint64_t>((first_row + r) * s_.Tk + key), span.low, span.high, w.keep);
      for (int j = span.low; j < span.high; j += VW) {
        const vf weight = exp_score(load(p + j) - lse);
        vf dp = load(ds + j), kept = weight;
        if (s_.dropout > 0) {
          dp = dp * load(w.keep + j);
          kept = weight * load(w.keep + j);
        }
        store(p + j, kept);
        store(ds + j, weight * (dp - delta));
      }
    }
  }

  // The rows that see any of keys [m, m + count).
  static Range seeing(const BlockMask& mask, int rows, int m, int count) {
    Range r{0, rows};
    const auto sees = [&](int i) { return mask.row[i].low < m + count && mask.row[i].high > m; };
    while (r.low < r.high && !sees(r.low)) ++r.low;
    while (r.high > r.low && !sees(r.high - 1)) --r.high;
    return r;
  }

  void clear_dq(int64_t b, int64_t h, int64_t first, int64_t last) const {
    if (a_.accumulate_dq) return;
    for (int64_t i = first; i < last; ++i) {
      float* dq = row_at(a_.dq, a_.dq_stride, b, i, h);
      for (int64_t d = 0; d < s_.D; ++d) dq[d] = 0.0f;
    }
  }

  void add_dq(const Workspace& w, const BlockMask& mask, int64_t b, int64_t h, int64_t query, int count) const {
    Product p{w.ds, kKeys, 1, w.k, width_, w.dq, width_};
    p.factor = s_.scale;
    product(p, count, static_cast<int>(width_), [&](int m, int rows) { return hull(mask, m, rows); });
    for (int r = 0; r < count; ++r) {
      const float* from = w.dq + r * width_;
      float* dq = row_at(a_.dq, a_.dq_stride, b, query + r, h);
      for (int64_t d = 0; d < s_.D; ++d) dq[d] += from[d];
    }
  }

  void store_keys(const float* from, float factor, int keys, float* to, int64_t stride, bool accumulate) const {
    for (int j = 0; j < keys; ++j, from += width_, to += stride)
      for (int64_t d = 0; d < s_.D; ++d) to[d] = accumulate ? to[d] + factor * from[d] : factor * from[d];
  }

  const AttentionBackwardArgs& a_;
  const AttentionShape& s_;
  float* const delta_;  // [B][H][Tq]
  const int64_t width_, key_blocks_, query_blocks_;
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
