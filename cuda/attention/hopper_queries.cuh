#pragma once
// dQ on Hopper: a block has 128 queries, a consumer 64 of them, and walks through their keys.
#include "attention/hopper_problem.cuh"
#include "attention/hopper_rows.cuh"

namespace heddle::cuda {

template <int D>
struct QueriesShared {
  static constexpr int kStages = D == 64 ? 3 : 2, kKeys = D == 64 ? 128 : 64;  // of a stage
  using Stage = HeadTile<D, kKeys>;
  HeadTile<D, kAttentionRows> q, d_o;
  Stage k[kStages], v[kStages];
  unsigned char staging[kAttentionConsumerWarps][kAttentionStaging];
  uint64_t queries_full, queries_empty, full[kStages], empty[kStages];

  __device__ void init() const {
    ptx::barrier_init(address_of(queries_full), 1);
    ptx::barrier_init(address_of(queries_empty), kAttentionConsumerWarps);
    for (int s = 0; s < kStages; ++s) {
      ptx::barrier_init(address_of(full[s]), 1);
      ptx::barrier_init(address_of(empty[s]), kAttentionConsumerWarps);
    }
  }
};

template <class T, int D, bool Drops>
struct QueriesKernel {
  using Shared = QueriesShared<D>;
  using Stages = Ring<Shared::kStages>;
  static constexpr int kProducerRegisters = 24, kConsumerRegisters = 240;
  // Keys pass through the exponentials in parts: the gradients of one are multiplied while those of the next are computed.
  static constexpr int kKeys = Shared::kKeys, kParts = kKeys / 64, kScores = 64 / 2;
  using Part = HeadTile<D, 64>;
  // Whether registers keep a warpgroup's queries and their dO: shared memory could not feed the products otherwise.
  static constexpr bool kKeeps = D == 128;
  using Kept = uint32_t[kKeeps ? D / 4 : 1];
  const BackwardProblem& p;
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
    return {at, query, keys.low / kKeys, (keys.high + kKeys - 1) / kKeys};
  }

  __device__ void produce(const CUtensorMap* map_q, const CUtensorMap* map_k, const CUtensorMap* map_v, const CUtensorMap* map_do) const {
    Stages to;
    uint32_t parity = 0;
    for (uint32_t unit = blockIdx.x; unit < p.units.count(); unit += gridDim.x) {
      const Work w = work(unit);
      if (w.first == w.last) continue;
      const int kv = w.at.h / p.group;
      const uint32_t queries_full = address_of(shared.queries_full);
      ptx::barrier_wait<false>(address_of(shared.queries_empty), parity ^ 1);  // the first lap finds everything empty
      parity ^= 1;
      ptx::barrier_expect(queries_full, shared.q.kBytes + shared.d_o.kBytes);
      shared.q.load(map_q, queries_full, w.query, w.at.h, w.at.b);
      shared.d_o.load(map_do, queries_full, w.query, w.at.h, w.at.b);
      for (int block = w.first; block < w.last; ++block, to.next()) {
        const uint32_t full = address_of(shared.full[to.stage]);
        ptx::barrier_wait<false>(address_of(shared.empty[to.stage]), to.parity ^ 1);
        ptx::barrier_expect(full, 2 * Shared::Stage::kBytes);
        shared.k[to.stage].load(map_k, full, block * kKeys, kv, w.at.b);
        shared.v[to.stage].load(map_v, full, block * kKeys, kv, w.at.b);
      }
    }
  }

  // What a thread knows of its two queries, and of its warpgroup's.
  struct Rows {
    QueryRows of;
    float lse2[2], delta[2];
  };
  __device__ Rows rows_of(const Work& w, int warp) const {
    Rows r{};
    r.of = QueryRows::of<Drops>(p.mask, p.H, w.at.b, w.at.h, w.query, warp);
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const float* sums = p.sums_of(w.at.b, w.at.h, r.of.row[i]);
      r.lse2[i] = sums[0];
      r.delta[i] = sums[64];
    }
    return r;
  }

  __device__ void consume() const {
    Stages from;
    uint32_t parity = 0;
    const int warp = warp_index(), first = warp / 4 * 64;
    for (uint32_t unit = blockIdx.x; unit < p.units.count(); unit += gridDim.x) {
      const Work w = work(unit);
      const Rows r = rows_of(w, warp);
      float dq[D / 2];
#pragma unroll
      for (float& x : dq) x = 0;
      if (w.first < w.last) {
        ptx::barrier_wait<false>(address_of(shared.queries_full), parity);
        parity ^= 1;
        Kept q = {}, d_o = {};
        if constexpr (kKeeps) {
          keep_rows<D>(q, shared.q, first);
          keep_rows<D>(d_o, shared.d_o, first);
        }
        const auto next = [&](auto hides, int block) {
          ptx::barrier_wait<false>(address_of(shared.full[from.stage]), from.parity);
          step<decltype(hides)::value>(dq, q, d_o, r, first, from.stage, block * kKeys);
          hand_back(shared.empty[from.stage]);
          from.next();
        };
        // Loops of their own, so that the usual one has no instruction of a mask.
        int block = w.first;
        while (block < w.last) {
#pragma unroll 1
          for (; block < w.last && sees_all<kKeys>(r.of, block * kKeys); ++block) next(std::false_type{}, block);
#pragma unroll 1
          for (; block < w.last && !sees_all<kKeys>(r.of, block * kKeys); ++block) next(std::true_type{}, block);
        }
        hand_back(shared.queries_empty);
      }
      const float factor[2] = {p.scale, p.scale};
      const int row = w.query + warp * 16;
      store_rows<T, D>(dq, factor, ptx::shared_address(shared.staging[warp]), p.dq.template at<T>(w.at.b, row, w.at.h), p.dq.stride[1],
                       p.mask.Tq - row, p.dq.accumulate);
    }
  }

  // Hides: some keys may be hidden.
  template <bool Hides>
  __device__ void step(float (&dq)[D / 2], const Kept& q, const Kept& d_o, const Rows& r, int first, int stage, int key) const {
    static_assert(kParts == 1 || D == 64, "rows of one slab lie one after another");
    const auto* k = reinterpret_cast<const Part*>(&shared.k[stage]);
    float s[kParts][kScores], dp[kParts * kScores];
    uint32_t gradients[kParts][kScores / 2], kept[2];
    const auto multiply = [&](auto& to, const Kept& own, const auto& rows, const auto& columns) {
      if constexpr (kKeeps)
        multiply_kept<T, D>(to, own, columns);
      else
        multiply_rows<T>(to, rows, first, columns);
      ptx::wgmma_commit();
    };
    ptx::wgmma_fence();
#pragma unroll
    for (int part = 0; part < kParts; ++part) multiply(s[part], q, shared.q, k[part]);
    multiply(dp, d_o, shared.d_o, shared.v[stage]);
    if constexpr (Drops) draw_kept<kKeys>(kept, p.dropout, r.of, key);
#pragma unroll
    for (int part = 0; part < kParts; ++part) {
      if (part == 0) ptx::wgmma_wait<kParts>();
      ptx::hold_registers(s[part]);
      if constexpr (Hides) hide_keys<64>(s[part], r.of, key + part * 64);
#pragma unroll
      for (int i = 0; i < kScores; ++i) s[part][i] = exp2_fast(fmaf(s[part][i], p.scale_log2, -r.lse2[i / 2 % 2]));
      if (part == 0) {
        ptx::wgmma_wait<0>();
        ptx::hold_registers(dp);
      }
#pragma unroll
      for (int i = 0; i < kScores; ++i) {
        float& x = dp[part * kScores + i];
        if constexpr (Drops) x = keeps(kept, part * kScores + i) ? x * p.dropout.scale : 0;
        s[part][i] *= x - r.delta[i / 2 % 2];
      }
      round_pairs<T>(gradients[part], s[part]);
      ptx::hold_registers(gradients[part]);
      if (part == 0) ptx::hold_registers(dq);
      ptx::wgmma_fence();
      multiply_weights<T>(dq, gradients[part], k[part]);
      ptx::wgmma_commit();
    }
    ptx::wgmma_wait<0>();
    ptx::hold_registers(dq);
#pragma unroll
    for (int part = 0; part < kParts; ++part) ptx::hold_registers(gradients[part]);
  }
};

template <class T, int D, bool Drops>
__global__ void __launch_bounds__(kHopperAttentionThreads, 1)
    attention_queries_hopper_kernel(const __grid_constant__ BackwardProblem p, const __grid_constant__ CUtensorMap map_q,
                                    const __grid_constant__ CUtensorMap map_k, const __grid_constant__ CUtensorMap map_v,
                                    const __grid_constant__ CUtensorMap map_do) {
  extern __shared__ __align__(1024) unsigned char bytes[];
  auto& shared = *reinterpret_cast<QueriesShared<D>*>(bytes);
  run_block(QueriesKernel<T, D, Drops>{p, shared}, shared, map_q, map_k, map_v, map_do);
}

}  // namespace heddle::cuda
