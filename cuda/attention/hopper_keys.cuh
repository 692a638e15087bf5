#pragma once
// dK and dV on Hopper: a block has 128 keys, a consumer 64 of them, and walks through the queries of all heads that read them.
//
// S and dP are computed with keys as rows: P^T and dS^T, rounded, are operands in registers as they are.
#include "attention/hopper_problem.cuh"
#include "ptx/bulk.cuh"

namespace heddle::cuda {

// Queries of a stage, and of a step where no mask cuts: as many as leave dK, dV and what dropout keeps their registers. Where one does, a
// step has 64, or two loops would spill.
template <int D, bool Drops>
constexpr int kStepQueries = D == 64 && !Drops ? 128 : 64;

template <int D, int Queries>
struct KeysShared {
  static constexpr int kStages = 2, kQueries = Queries;
  using Stage = HeadTile<D, kQueries>;
  HeadTile<D, kAttentionRows> k, v;
  Stage q[kStages], d_o[kStages];
  unsigned char staging[kAttentionConsumerWarps][kAttentionStaging];
  alignas(16) float sums[kStages][2 * kQueries];  // 64 queries' lse, their delta, ...
  uint64_t keys_full, keys_empty, full[kStages], empty[kStages];

  __device__ void init() const {
    ptx::barrier_init(address_of(keys_full), 1);
    ptx::barrier_init(address_of(keys_empty), kAttentionConsumerWarps);
    for (int s = 0; s < kStages; ++s) {
      ptx::barrier_init(address_of(full[s]), 1);
      ptx::barrier_init(address_of(empty[s]), kAttentionConsumerWarps);
    }
  }
};

template <class T, int D, bool Drops>
struct KeysKernel {
  using Shared = KeysShared<D, kStepQueries<D, Drops>>;
  using Stages = Ring<Shared::kStages>;
  static constexpr int kProducerRegisters = 24, kConsumerRegisters = 240;
  static constexpr int kQueries = Shared::kQueries, kCut = 64;
  const BackwardProblem& p;
  Shared& shared;

  // Blocks of queries [first, last) that see the tile's keys.
  struct Work {
    AttentionUnits::Unit at;
    int key, first, last;
  };
  __device__ Work work(uint32_t unit) const {
    const auto at = p.units[unit];
    const int key = at.tile * kAttentionRows;
    const Interval queries = p.mask.queries(key, min(key + kAttentionRows, p.mask.Tk));
    if (queries.empty()) return {at, key, 0, 0};
    return {at, key, queries.low / kQueries, (queries.high + kQueries - 1) / kQueries};
  }

  __device__ void produce(const CUtensorMap* map_q, const CUtensorMap* map_k, const CUtensorMap* map_v, const CUtensorMap* map_do) const {
    Stages to;
    uint32_t parity = 0;
    for (uint32_t unit = blockIdx.x; unit < p.units.count(); unit += gridDim.x) {
      const Work w = work(unit);
      if (w.first == w.last) continue;
      const uint32_t keys_full = address_of(shared.keys_full);
      ptx::barrier_wait<false>(address_of(shared.keys_empty), parity ^ 1);  // the first lap finds everything empty
      parity ^= 1;
      ptx::barrier_expect(keys_full, shared.k.kBytes + shared.v.kBytes);
      shared.k.load(map_k, keys_full, w.key, w.at.h, w.at.b);
      shared.v.load(map_v, keys_full, w.key, w.at.h, w.at.b);
      for (int g = 0; g < p.group; ++g) {
        const int h = w.at.h * p.group + g;
        for (int block = w.first; block < w.last; ++block, to.next()) {
          const uint32_t full = address_of(shared.full[to.stage]);
          const int query = block * kQueries;
          ptx::barrier_wait<false>(address_of(shared.empty[to.stage]), to.parity ^ 1);
          ptx::barrier_expect(full, 2 * Shared::Stage::kBytes + sizeof shared.sums[0]);
          shared.q[to.stage].load(map_q, full, query, h, w.at.b);
          shared.d_o[to.stage].load(map_do, full, query, h, w.at.b);
          ptx::load_bytes(ptx::shared_address(shared.sums[to.stage]), p.sums_of(w.at.b, h, query), sizeof shared.sums[0], full);
        }
      }
    }
  }

  // What a thread knows of its two keys, `key` and 8 on, and of its warpgroup's.
  struct Rows {
    AttentionMask mask;  // of the batch
    int first, key;
    int32_t document[2];
  };
  __device__ Rows rows_of(const Work& w, int warp) const {
    Rows r{};
    r.mask = p.mask.of_batch(w.at.b);
    r.first = w.key + warp / 4 * 64;
    r.key = w.key + warp * 16 + lane() / 4;
#pragma unroll
    for (int i = 0; i < 2; ++i)
      if (r.mask.k_documents) r.document[i] = r.key + i * 8 < r.mask.Tk ? r.mask.k_documents[r.key + i * 8] : 0;
    return r;
  }

  // All of a block of queries sees all of the warpgroup's keys.
  static __device__ bool seen_by_all(const Rows& r, int query) { return !r.mask.q_documents && r.mask.full(query, kQueries, r.first, 64); }

  // What is hidden becomes -inf; what does not exist, lse and k do away with.
  template <int kScores>
  static __device__ void hide(float (&s)[kScores], const Rows& r, int query) {
    const int mine = query + lane() % 4 * 2;
    int low[2], high[2];  // of the queries that see a key, from this lane's first on
#pragma unroll
    for (int row = 0; row < 2; ++row) {
      const Interval queries = r.mask.queries(r.key + row * 8, r.key + row * 8 + 1);
      low[row] = queries.low - mine;
      high[row] = queries.high - mine;
    }
#pragma unroll
    for (int i = 0; i < kScores; ++i) {
      const int at = i / 4 * 8 + i % 2, row = i / 2 % 2;
      if ((at < low[row]) | (at >= high[row])) s[i] = kNoScore;
    }
    if (!r.mask.q_documents) return;
    const int32_t* documents = r.mask.q_documents;
#pragma unroll
    for (int i = 0; i < kScores; ++i) {
      const int at = i / 4 * 8 + i % 2, row = i / 2 % 2;
      if (documents[min(mine + at, r.mask.Tq - 1)] != r.document[row]) s[i] = kNoScore;
    }
  }

  // Bit i: what dropout keeps of score i.
  template <int Words>
  __device__ void draw(uint32_t (&kept)[Words], const Rows& r, int64_t element, int query) const {
    const RandomState random = *p.dropout.random;
#pragma unroll
    for (int word = 0; word < Words; ++word) {
      kept[word] = 0;
#pragma unroll 1
      for (int i = 0; i < 32; ++i) {
        const int64_t at = query + lane() % 4 * 2 + (word * 8 + i / 4) * 8 + i % 2;
        if (p.dropout.keeps(random, element + at * r.mask.Tk + r.key + i / 2 % 2 * 8)) kept[word] |= 1u << i;
      }
    }
  }

  __device__ void consume() const {
    Stages from;
    uint32_t parity = 0;
    const int warp = warp_index(), first = warp / 4 * 64;
    for (uint32_t unit = blockIdx.x; unit < p.units.count(); unit += gridDim.x) {
      const Work w = work(unit);
      const Rows r = rows_of(w, warp);
      float dk[D / 2], dv[D / 2];
#pragma unroll
      for (int i = 0; i < D / 2; ++i) dk[i] = dv[i] = 0;
      if (w.first < w.last) {
        ptx::barrier_wait<false>(address_of(shared.keys_full), parity);
        parity ^= 1;
        for (int g = 0; g < p.group; ++g) {
          const int64_t element = Drops ? p.element(w.at.b, w.at.h * p.group + g, 0) : 0;
          const auto each = [&](int& block, bool whole, const auto& multiply) {
#pragma unroll 1
            for (; block < w.last && seen_by_all(r, block * kQueries) == whole; ++block) {
              ptx::barrier_wait<false>(address_of(shared.full[from.stage]), from.parity);
              multiply(block * kQueries);
              hand_back(shared.empty[from.stage]);
              from.next();
            }
          };
          for (int block = w.first; block < w.last;) {
            each(block, true, [&](int query) { step<kQueries, false>(dk, dv, r, first, from.stage, 0, element, query); });
            each(block, false, [&](int query) {
#pragma unroll 1
              for (int at = 0; at < kQueries; at += kCut) step<kCut, true>(dk, dv, r, first, from.stage, at, element, query + at);
            });
          }
        }
        hand_back(shared.keys_empty);
      }
      const float dk_factor[2] = {p.scale, p.scale}, dv_factor[2] = {p.dropout.scale, p.dropout.scale};
      const int row = w.key + warp * 16, rows = p.mask.Tk - row;
      const uint32_t staging = ptx::shared_address(shared.staging[warp]);
      store_rows<T, D>(dk, dk_factor, staging, p.dk.template at<T>(w.at.b, row, w.at.h), p.dk.stride[1], rows, p.dk.accumulate);
      store_rows<T, D>(dv, dv_factor, staging, p.dv.template at<T>(w.at.b, row, w.at.h), p.dv.stride[1], rows, p.dv.accumulate);
    }
  }

  // Queries of a stage, from row `at` of it on; hides: some scores may be hidden.
  template <int Queries, bool Hides>
  __device__ void step(float (&dk)[D / 2], float (&dv)[D / 2], const Rows& r, int first, int stage, int at, int64_t element,
                       int query) const {
    static_assert(Queries == kQueries || D == 64, "rows of one slab lie one after another");
    const auto& q = reinterpret_cast<const HeadTile<D, Queries>*>(&shared.q[stage])[at / Queries];
    const auto& d_o = reinterpret_cast<const HeadTile<D, Queries>*>(&shared.d_o[stage])[at / Queries];
    constexpr int kScores = Queries / 2;
    float s[kScores], dp[kScores];
    uint32_t weights[kScores / 2], gradients[kScores / 2], kept[kScores / 32];
    ptx::wgmma_fence();
    multiply_rows<T>(s, shared.k, first, q);
    ptx::wgmma_commit();
    multiply_rows<T>(dp, shared.v, first, d_o);
    ptx::wgmma_commit();
    if constexpr (Drops) draw(kept, r, element, query);
    ptx::wgmma_wait<1>();
    ptx::hold_registers(s);
    if constexpr (Hides) hide(s, r, query);
    const uint32_t lse2 = ptx::shared_address(shared.sums[stage]) + at * 2 * 4 + lane() % 4 * 2 * 4,
                   delta = lse2 + 64 * 4;  // of this thread's first query
#pragma unroll
    for (int j = 0; j < kScores / 4; ++j) {
      float x[2];
      ptx::load_pair(x, lse2 + (j / 8 * 128 + j % 8 * 8) * 4);
#pragma unroll
      for (int i = 0; i < 4; ++i) s[j * 4 + i] = exp2_fast(fmaf(s[j * 4 + i], p.scale_log2, -x[i % 2]));
    }
    if constexpr (Drops) {
#pragma unroll
      for (int i = 0; i < kScores; i += 2) weights[i / 2] = ptx::round_pair<T>(keep(kept, i) ? s[i] : 0, keep(kept, i + 1) ? s[i + 1] : 0);
    } else {
      round_pairs<T>(weights, s);
    }
    ptx::hold_registers(weights);
    ptx::hold_registers(dv);
    ptx::wgmma_fence();
    multiply_weights<T>(dv, weights, d_o);
    ptx::wgmma_commit();
    ptx::wgmma_wait<1>();
    ptx::hold_registers(dp);
#pragma unroll
    for (int j = 0; j < kScores / 4; ++j) {
      float x[2];
      ptx::load_pair(x, delta + (j / 8 * 128 + j % 8 * 8) * 4);
#pragma unroll
      for (int i = j * 4; i < j * 4 + 4; i += 2) {
        if constexpr (Drops) {
          dp[i] = keep(kept, i) ? dp[i] * p.dropout.scale : 0;
          dp[i + 1] = keep(kept, i + 1) ? dp[i + 1] * p.dropout.scale : 0;
        }
        gradients[i / 2] = ptx::round_pair<T>(s[i] * (dp[i] - x[0]), s[i + 1] * (dp[i + 1] - x[1]));
      }
    }
    ptx::hold_registers(gradients);
    ptx::hold_registers(dk);
    ptx::wgmma_fence();
    multiply_weights<T>(dk, gradients, q);
    ptx::wgmma_commit();
    ptx::wgmma_wait<0>();
    ptx::hold_registers(dk);
    ptx::hold_registers(dv);
    ptx::hold_registers(weights);
    ptx::hold_registers(gradients);
  }
  template <int Words>
  static __device__ bool keep(const uint32_t (&kept)[Words], int i) {
    return kept[i / 32] >> i % 32 & 1;
  }
};

template <class T, int D, bool Drops>
__global__ void __launch_bounds__(kHopperAttentionThreads, 1)
    attention_keys_hopper_kernel(const __grid_constant__ BackwardProblem p, const __grid_constant__ CUtensorMap map_q,
                                 const __grid_constant__ CUtensorMap map_k, const __grid_constant__ CUtensorMap map_v,
                                 const __grid_constant__ CUtensorMap map_do) {
  extern __shared__ __align__(1024) unsigned char bytes[];
  auto& shared = *reinterpret_cast<typename KeysKernel<T, D, Drops>::Shared*>(bytes);
  run_block(KeysKernel<T, D, Drops>{p, shared}, shared, map_q, map_k, map_v, map_do);
}

}  // namespace heddle::cuda
