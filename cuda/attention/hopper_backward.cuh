#pragma once
// Attention backward on Hopper, for *_sm90.cu. With P = 2^(scale log2(e) s - log2(e) lse) computed again, D its dropout and
// delta = sum_d o dO (below):
//   dV = (D P)^T dO;  dS = P (D dP - delta);  dK = scale dS^T Q;  dQ = scale dS K
// in two passes, so that nothing is added by two blocks: a block has 128 keys and walks through the queries of all heads that read them
// (dK, dV), or 128 queries and walks through their keys (dQ). Orders of sums follow from shapes alone.
//
// Where keys have the block, S and dP are computed with keys as rows: P^T and dS^T, rounded, are operands in registers as they are.
#include "attention/hopper_keys.cuh"
#include "attention/hopper_queries.cuh"

namespace heddle::cuda {

// Names of the two passes, for heads of 64 and of 128; of the first, with dropout, 64.
struct BackwardNames {
  const char *keys[3], *queries[2];
};

template <class T, int D, bool Drops>
void launch_attention_backward_head(const BackwardNames& names, BackwardProblem p, const AttentionBackwardArgs& a) {
  const AttentionShape& s = a.s;
  const auto queries = [&](const void* data, const int64_t (&stride)[3], int rows) {
    return heads_map(s.type, data, stride, s.B, s.Tq, s.H, D, rows);
  };
  const auto keys = [&](const void* data, const int64_t (&stride)[3], int rows) {
    return heads_map(s.type, data, stride, s.B, s.Tk, s.Hkv, D, rows);
  };
  DeltaProblem d{a.o, a.d_o, a.lse, const_cast<float*>(p.sums), {}, {}, p.H, p.mask.Tq, p.padded};
  std::copy_n(a.o_stride, 3, d.o_stride);
  std::copy_n(a.do_stride, 3, d.do_stride);
  const int64_t rows = s.B * s.H * p.padded;
  launch("attention delta", attention_delta_hopper_kernel<T, D>, static_cast<unsigned>(rows * (D / 8) / 256), 256, 0, d, rows);

  constexpr int kQueries = kStepQueries<D, Drops>, kKeys = QueriesShared<D>::kKeys;
  p.units = attention_units(s.Tk, s.B, s.Hkv, 2 * s.Tq * D * 2 * p.group, false);
  launch_persistent(names.keys[D == 128 ? 1
                               : Drops  ? 2
                                        : 0],
                    attention_keys_hopper_kernel<T, D, Drops>, p.units, sizeof(KeysShared<D, kQueries>), p,
                    queries(a.q, a.q_stride, kQueries), keys(a.k, a.k_stride, kAttentionRows), keys(a.v, a.v_stride, kAttentionRows),
                    queries(a.d_o, a.do_stride, kQueries));
  p.units = attention_units(s.Tq, s.B, s.H, 2 * s.Tk * D * 2 / p.group, true);
  launch_persistent(names.queries[D / 64 - 1], attention_queries_hopper_kernel<T, D, Drops>, p.units, sizeof(QueriesShared<D>), p,
                    queries(a.q, a.q_stride, kAttentionRows), keys(a.k, a.k_stride, kKeys), keys(a.v, a.v_stride, kKeys),
                    queries(a.d_o, a.do_stride, kAttentionRows));
}

template <class T>
void launch_attention_backward(const BackwardNames& names, const AttentionBackwardArgs& a, const AttentionBackwardPlan& plan) {
  const AttentionShape& s = a.s;
  BackwardProblem p{};
  p.mask = AttentionMask(s);
  p.dropout = AttentionDropout(s);
  p.dq = {a.dq, a.dq_stride, a.accumulate_dq};
  p.dk = {a.dk, a.dk_stride, a.accumulate_dk};
  p.dv = {a.dv, a.dv_stride, a.accumulate_dv};
  p.padded = static_cast<int>(plan.row_count);
  p.sums = static_cast<const float*>(a.workspace);
  p.H = static_cast<int>(s.H);
  p.group = static_cast<int>(s.H / s.Hkv);
  p.scale = s.scale;
  p.scale_log2 = s.scale * kLog2E;
  if (s.D == 64)
    s.dropout > 0 ? launch_attention_backward_head<T, 64, true>(names, p, a) : launch_attention_backward_head<T, 64, false>(names, p, a);
  else
    s.dropout > 0 ? launch_attention_backward_head<T, 128, true>(names, p, a) : launch_attention_backward_head<T, 128, false>(names, p, a);
}

}  // namespace heddle::cuda
