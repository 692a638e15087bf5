#pragma once
// Attention forward on Hopper, after FlashAttention-3 (Shah et al. 2024): o = softmax(scale q k^T) v and lse, 128 queries by 128 keys at a
// time, for *_sm90.cu.
//
// A consumer has 64 queries. S of the next keys is multiplied before the product of P and V of the last ones, so that the softmax of the
// next keys runs beside that; P, rounded, stays in registers as an operand. The two consumers issue their products in turns: while one
// computes its softmax, the tensor cores are the other's.
#include "attention/hopper.cuh"
#include "attention/hopper_softmax.cuh"
#include "ptx/named.cuh"

namespace heddle::cuda {

struct ForwardProblem {
  AttentionMask mask;
  AttentionDropout dropout;
  AttentionUnits units;
  HeadsOutput o;
  float* lse;
  int H, group;
  float scale, scale_log2;
};

template <int D>
struct ForwardShared {
  static constexpr int kStages = D == 64 ? 4 : 2;
  using Tile = HeadTile<D, 128>;
  Tile q, k[kStages], v[kStages];
  unsigned char staging[kAttentionConsumerWarps][kAttentionStaging];
  uint64_t q_full, q_empty, k_full[kStages], k_empty[kStages], v_full[kStages], v_empty[kStages];

  __device__ void init() const {
    ptx::barrier_init(address_of(q_full), 1);
    ptx::barrier_init(address_of(q_empty), kAttentionConsumerWarps);
    for (int s = 0; s < kStages; ++s) {
      ptx::barrier_init(address_of(k_full[s]), 1);
      ptx::barrier_init(address_of(v_full[s]), 1);
      ptx::barrier_init(address_of(k_empty[s]), kAttentionConsumerWarps);
      ptx::barrier_init(address_of(v_empty[s]), kAttentionConsumerWarps);
    }
  }
};

template <class T, int D, bool Drops>
struct ForwardKernel {
  using Shared = ForwardShared<D>;
  using Stages = Ring<Shared::kStages>;
  static constexpr int kProducerRegisters = 24, kConsumerRegisters = 240;
  static constexpr int kScores = kForwardScores;
  static constexpr bool kAhead = D == 64 && !Drops;  // registers suffice for exponents beside the next scores
  const ForwardProblem& p;
  Shared& shared;

  // Blocks of keys [first, last) that the tile's queries see.
  struct Work {
    AttentionUnits::Unit at;
    int query, first, last;
  };
  __device__ Work work(uint32_t unit) const {
    const auto at = p.units[unit];
    const int query = at.tile * kAttentionRows;
    const Interval keys = p.mask.keys(query, min(query + kAttentionRows, p.mask.Tq));
    if (keys.empty()) return {at, query, 0, 0};
    return {at, query, keys.low / kForwardKeys, (keys.high + kForwardKeys - 1) / kForwardKeys};
  }

  __device__ void produce(const CUtensorMap* map_q, const CUtensorMap* map_k, const CUtensorMap* map_v) const {
    Stages to;
    uint32_t q_parity = 0;
    for (uint32_t unit = blockIdx.x; unit < p.units.count(); unit += gridDim.x) {
      const Work w = work(unit);
      if (w.first == w.last) continue;
      const int kv = w.at.h / p.group;
      ptx::barrier_wait<false>(address_of(shared.q_empty), q_parity ^ 1);  // the first lap finds everything empty
      q_parity ^= 1;
      ptx::barrier_expect(address_of(shared.q_full), Shared::Tile::kBytes);
      shared.q.load(map_q, address_of(shared.q_full), w.query, w.at.h, w.at.b);
      for (int block = w.last - 1; block >= w.first; --block, to.next()) {
        const auto fetch = [&](const typename Shared::Tile& tile, const CUtensorMap* map, const uint64_t& full, const uint64_t& empty) {
          ptx::barrier_wait<false>(address_of(empty), to.parity ^ 1);
          ptx::barrier_expect(address_of(full), Shared::Tile::kBytes);
          tile.load(map, address_of(full), block * kForwardKeys, kv, w.at.b);
        };
        fetch(shared.k[to.stage], map_k, shared.k_full[to.stage], shared.k_empty[to.stage]);
        fetch(shared.v[to.stage], map_v, shared.v_full[to.stage], shared.v_empty[to.stage]);
      }
    }
  }

  __device__ void consume() const {
    Stages k, v;
    uint32_t q_parity = 0;
    const int warp = warp_index(), consumer = warp / 4;
    const int mine = 1 + consumer, other = 2 - consumer;  // named barriers: whose turn it is to issue
    if (consumer == 1) ptx::named_signal(other, 256);
    for (uint32_t unit = blockIdx.x; unit < p.units.count(); unit += gridDim.x) {
      const Work w = work(unit);
      ForwardRows r(QueryRows::of<Drops>(p.mask, p.H, w.at.b, w.at.h, w.query, warp), p.scale_log2);
      float o[D / 2];
#pragma unroll
      for (float& x : o) x = 0;
      if (w.first < w.last) {
        float s[kScores];
        uint32_t weights[kScores / 2];
        const auto score = [&] {
          ptx::hold_registers(s);
          ptx::wgmma_fence();
          multiply_rows<T>(s, shared.q, consumer * 64, shared.k[k.stage]);
          ptx::wgmma_commit();
        };
        const auto landed = [&] { ptx::barrier_wait<false>(address_of(shared.v_full[v.stage]), v.parity); };
        const auto weigh = [&] {
          ptx::hold_registers(o);
          ptx::hold_registers(weights);
          ptx::wgmma_fence();
          multiply_weights<T>(o, weights, shared.v[v.stage]);
          ptx::wgmma_commit();
        };
        const auto scored = [&] {
          ptx::hold_registers(s);
          hand_back(shared.k_empty[k.stage]);
          k.next();
        };
        const auto weighed = [&] {
          ptx::wgmma_wait<0>();
          ptx::hold_registers(o);
          ptx::hold_registers(weights);
          hand_back(shared.v_empty[v.stage]);
          v.next();
        };
        ptx::barrier_wait<false>(address_of(shared.q_full), q_parity);
        q_parity ^= 1;
        int block = w.last - 1;
        ptx::barrier_wait<false>(address_of(shared.k_full[k.stage]), k.parity);
        score();
        ptx::wgmma_wait<0>();
        scored();
        if constexpr (kAhead) {
          // Exponents leave the scores' registers, into which the next keys' are multiplied while the exponentials are computed. Sums of
          // weights follow in the next step, beside its maxima. Nothing is in flight from one step to the next.
          float e[kScores];
          const auto add = [&] {
#pragma unroll
            for (int i = 0; i < kScores; ++i) r.sum[i / 2 % 2] += e[i];
            ptx::hold_registers(r.sum);
          };
          const auto step = [&](auto hides, auto begins, auto ends) {
            constexpr bool kBegins = decltype(begins)::value, kEnds = decltype(ends)::value;
            const bool there = kEnds || ptx::barrier_test(address_of(shared.k_full[k.stage]), k.parity);
            if constexpr (!kBegins) add();
            if constexpr (decltype(hides)::value) hide_keys<kForwardKeys>(s, r.of, block * kForwardKeys);
            float base[2];
            r.raise(base, s);
#pragma unroll
            for (int i = 0; i < kScores; ++i) e[i] = fmaf(s[i], p.scale_log2, -base[i / 2 % 2]);
            ptx::hold_registers(e);
            ptx::named_wait(mine, 256);
            if constexpr (!kBegins) weigh();
            if (!there) ptx::barrier_wait<false>(address_of(shared.k_full[k.stage]), k.parity);
            if constexpr (!kEnds) score();
#pragma unroll
            for (int i = 0; i < kScores; ++i) e[i] = exp2_fast(e[i]);
            ptx::hold_registers(e);
            ptx::named_signal(other, 256);
            if constexpr (!kBegins) {
              weighed();
#pragma unroll
              for (int i = 0; i < D / 2; ++i) o[i] *= r.rescale[i / 2 % 2];
            } else {
              ptx::wgmma_wait<0>();
            }
            if constexpr (!kEnds) scored();
            const bool values = ptx::barrier_test(address_of(shared.v_full[v.stage]), v.parity);
            round_pairs<T>(weights, e);
            ptx::hold_registers(e);
            if (!values) landed();
          };
          const std::true_type yes;
          const std::false_type no;
          if (block > w.first) {
            step(yes, yes, no);
            --block;
            int above, below;
            r.whole(above, below, w.first);
#pragma unroll 1
            for (; block > above; --block) step(yes, no, no);
#pragma unroll 1
            for (; block > below; --block) step(no, no, no);
#pragma unroll 1
            for (; block > w.first; --block) step(yes, no, no);
            if (sees_all<kForwardKeys>(r.of, block * kForwardKeys))
              step(no, no, yes);
            else
              step(yes, no, yes);
          } else {
            step(yes, yes, yes);
          }
          add();
        } else {
          r.template softmax<true, Drops>(s, block * kForwardKeys, p.dropout);
          round_pairs<T>(weights, s);
          const auto next = [&](auto hides) {
            ptx::barrier_wait<false>(address_of(shared.k_full[k.stage]), k.parity);
            ptx::named_wait(mine, 256);
            score();
            landed();
            weigh();
            ptx::named_signal(other, 256);
            ptx::wgmma_wait<1>();
            scored();
            r.template softmax<decltype(hides)::value, Drops>(s, block * kForwardKeys, p.dropout);
            weighed();
#pragma unroll
            for (int i = 0; i < D / 2; ++i) o[i] *= r.rescale[i / 2 % 2];
            round_pairs<T>(weights, s);
          };
          // Loops of their own, so that the usual one has no instruction of a mask.
          --block;
          while (block >= w.first) {
#pragma unroll 1
            for (; block >= w.first && sees_all<kForwardKeys>(r.of, block * kForwardKeys); --block) next(std::false_type{});
#pragma unroll 1
            for (; block >= w.first && !sees_all<kForwardKeys>(r.of, block * kForwardKeys); --block) next(std::true_type{});
          }
          landed();
        }
        hand_back(shared.q_empty);
        weigh();
        weighed();
      }
      finish(w, r, o, warp);
    }
    if (consumer == 0) ptx::named_wait(mine, 256);  // the turn that is left over
  }

  __device__ void finish(const Work& w, const ForwardRows& r, const float (&o)[D / 2], int warp) const {
    float factor[2];
#pragma unroll
    for (int row = 0; row < 2; ++row) {
      float sum = r.sum[row];
      sum += __shfl_xor_sync(0xffffffffu, sum, 1);
      sum += __shfl_xor_sync(0xffffffffu, sum, 2);
      factor[row] = sum == 0.0f ? 0.0f : p.dropout.scale / sum;
      if (lane() % 4 == 0 && r.of.row[row] < p.mask.Tq)
        p.lse[(static_cast<int64_t>(w.at.b) * p.H + w.at.h) * p.mask.Tq + r.of.row[row]] =
            sum == 0.0f ? kNoScore : fmaf(r.max[row], p.scale, logf(sum));
    }
    const int first = w.query + warp * 16;
    store_rows<T, D>(o, factor, ptx::shared_address(shared.staging[warp]), p.o.template at<T>(w.at.b, first, w.at.h), p.o.stride[1],
                     p.mask.Tq - first, false);
  }
};

template <class T, int D, bool Drops>
__global__ void __launch_bounds__(kHopperAttentionThreads, 1)
    attention_forward_hopper_kernel(const __grid_constant__ ForwardProblem p, const __grid_constant__ CUtensorMap map_q,
                                    const __grid_constant__ CUtensorMap map_k, const __grid_constant__ CUtensorMap map_v) {
  extern __shared__ __align__(1024) unsigned char bytes[];
  auto& shared = *reinterpret_cast<ForwardShared<D>*>(bytes);
  run_block(ForwardKernel<T, D, Drops>{p, shared}, shared, map_q, map_k, map_v);
}

template <class T>
void launch_attention_forward(const char* const (&names)[2], const AttentionArgs& a) {
  const AttentionShape& s = a.s;
  ForwardProblem p{};
  p.mask = AttentionMask(s);
  p.dropout = AttentionDropout(s);
  p.units = attention_units(s.Tq, s.B, s.H, 2 * s.Tk * s.D * 2 * s.Hkv / s.H, true);
  p.o = {a.o, a.o_stride, false};
  p.lse = a.lse;
  p.H = static_cast<int>(s.H);
  p.group = static_cast<int>(s.H / s.Hkv);
  p.scale = s.scale;
  p.scale_log2 = s.scale * kLog2E;
  const CUtensorMap q = heads_map(s.type, a.q, a.q_stride, s.B, s.Tq, s.H, s.D, kAttentionRows);
  const CUtensorMap k = heads_map(s.type, a.k, a.k_stride, s.B, s.Tk, s.Hkv, s.D, kForwardKeys);
  const CUtensorMap v = heads_map(s.type, a.v, a.v_stride, s.B, s.Tk, s.Hkv, s.D, kForwardKeys);
  const auto run = [&](auto head) {
    constexpr int D = decltype(head)::value;
    const auto kernel = s.dropout > 0 ? attention_forward_hopper_kernel<T, D, true> : attention_forward_hopper_kernel<T, D, false>;
    launch_persistent(names[D / 64 - 1], kernel, p.units, sizeof(ForwardShared<D>), p, q, k, v);
  };
  if (s.D == 64)
    run(std::integral_constant<int, 64>{});
  else
    run(std::integral_constant<int, 128>{});
}

}  // namespace heddle::cuda
