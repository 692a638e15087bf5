#pragma once
// Matmul on Hopper: persistent blocks of a producer and two consumer warpgroups, for *_sm90.cu.
//
// One thread of the producer has the copy engine fill stages of 64 of k, ahead of the consumers. Each consumer multiplies 64 rows of the
// 128 x TileN tile (wgmma, operands in shared memory in any of the four layouts, sums in registers), hands a stage back when its products are
// done, and finishes its rows while the producer already fills stages for the next tile.
//
// Two blocks of a cluster compute tiles below each other. They need the same tile of b: each fetches half of it for both. So a stage is
// full when what both have fetched is there, and empty when the consumers of both are done with it.
#include <cuda.h>

#include <algorithm>

#include "common/types.cuh"
#include "matmul/launch.h"
#include "matmul/problem.cuh"
#include "ptx/async.cuh"
#include "ptx/cluster.cuh"
#include "ptx/mbarrier.cuh"
#include "ptx/registers.cuh"
#include "ptx/tensor.cuh"
#include "ptx/wgmma.cuh"
#include "runtime/launch.cuh"
#include "runtime/occupancy.h"
#include "runtime/tensor_map.h"

namespace heddle::cuda {

constexpr int kHopperThreads = 384, kHopperDepth = 64, kConsumers = 2, kConsumerWarps = 4 * kConsumers;
constexpr int kSlab = 64 * 128;  // bytes: 64 rows of 128 bytes

// A ring of stages as its producer or a consumer walks through it: which one is next, and the parity of its phase.
template <int Stages>
struct Ring {
  int stage = 0;
  uint32_t parity = 0;
  __device__ void next() {
    if (++stage == Stages) {
      stage = 0;
      parity ^= 1;
    }
  }
};

template <int TileN>
struct HopperShared {
  static constexpr int kStages = TileN == kHopperWide ? 4 : 6;
  static constexpr int kBytesA = kHopperTileM * 128, kBytesB = TileN * 128;
  unsigned char a[kStages][kBytesA], b[kStages][kBytesB];
  float staging[kConsumerWarps][16 * 64];
  uint64_t full[kStages], empty[kStages];
};

// One operand's tiles, Rows of m or n by 64 of k, as the copy engine puts them into a stage: K-major in one box, otherwise a slab of 64 of
// m or n after another.
template <int Rows, bool KMajor>
struct BoxLoader {
  const CUtensorMap* map;
  int row, batch0, batch1;

  // Rows first .. first + Count - 1 of the tile, to every block of the cluster in `blocks`; 0: to this one.
  template <int Count>
  __device__ void load(uint32_t stage, uint32_t full, int first, int k, uint16_t blocks) const {
    constexpr int kBoxRows = KMajor ? Count : 64;
#pragma unroll
    for (int at = 0; at < Count; at += kBoxRows) {
      const uint32_t to = stage + (first + at) * 128;
      const int x = KMajor ? k : row + first + at, y = KMajor ? row + first + at : k;
      if (blocks)
        ptx::load_box_multicast(to, map, full, blocks, x, y, batch1, batch0);
      else
        ptx::load_box(to, map, full, x, y, batch1, batch0);
    }
  }
};

template <class T, int TileN, bool AKMajor, bool BKMajor>
struct HopperKernel {
  using Shared = HopperShared<TileN>;
  using Stages = Ring<Shared::kStages>;
  const MatmulProblem& p;
  Shared& shared;
  uint32_t rank, blocks;  // of the cluster

  static __device__ uint32_t address(const void* x) { return ptx::shared_address(x); }
  __device__ MatmulBlock block(uint32_t unit) const {
    MatmulBlock at(p, unit, kHopperTileM * static_cast<int>(blocks), TileN);
    at.m += rank * kHopperTileM;
    return at;
  }
  static __device__ int steps(const MatmulBlock& at) { return static_cast<int>((at.k_last - at.k_first + kHopperDepth - 1) / kHopperDepth); }
  __device__ uint32_t units() const { return p.tiles_m * p.tiles_n * p.products * p.chunks; }
  __device__ uint32_t first_unit() const { return blockIdx.x / blocks; }
  __device__ uint32_t stride() const { return gridDim.x / blocks; }

  __device__ void produce(const CUtensorMap* map_a, const CUtensorMap* map_b) const {
    Stages to;
    for (uint32_t unit = first_unit(); unit < units(); unit += stride()) {
      const MatmulBlock at = block(unit);
      const int i = static_cast<int>(at.product / p.batch1), j = static_cast<int>(at.product % p.batch1);
      // a broadcast dimension has one place
      const BoxLoader<kHopperTileM, AKMajor> a{map_a, static_cast<int>(at.m), p.a_batch[0] ? i : 0, p.a_batch[1] ? j : 0};
      const BoxLoader<TileN, BKMajor> b{map_b, static_cast<int>(at.n), p.b_batch[0] ? i : 0, p.b_batch[1] ? j : 0};
      int k = static_cast<int>(at.k_first);
      for (int step = steps(at); step > 0; --step, k += kHopperDepth, to.next()) {
        ptx::barrier_wait<true>(address(&shared.empty[to.stage]), to.parity ^ 1);  // the first lap finds them empty
        const uint32_t full = address(&shared.full[to.stage]);
        ptx::barrier_expect(full, Shared::kBytesA + Shared::kBytesB);
        a.template load<kHopperTileM>(address(shared.a[to.stage]), full, 0, k, 0);
        if (blocks == 2)
          b.template load<TileN / 2>(address(shared.b[to.stage]), full, static_cast<int>(rank) * (TileN / 2), k, 3);
        else
          b.template load<TileN / 2>(address(shared.b[to.stage]), full, 0, k, 0),
              b.template load<TileN / 2>(address(shared.b[to.stage]), full, TileN / 2, k, 0);
      }
    }
  }

  __device__ void hand_back(int stage) const {
    const uint32_t lane = threadIdx.x % 32;
    if (lane < blocks) ptx::barrier_arrive(address(&shared.empty[stage]), lane);
  }

  __device__ void consume(int consumer) const {
    Stages from;
    float sum[TileN / 2];
    for (uint32_t unit = first_unit(); unit < units(); unit += stride()) {
      const MatmulBlock at = block(unit);
      int last = -1;  // the stage whose products may still be under way
      for (int step = steps(at), accumulate = 0; step > 0; --step, accumulate = 1, from.next()) {
        ptx::barrier_wait<true>(address(&shared.full[from.stage]), from.parity);
        multiply(sum, address(shared.a[from.stage]) + consumer * kSlab, address(shared.b[from.stage]), accumulate);
        ptx::wgmma_wait<1>();
        if (last >= 0) hand_back(last);
        last = from.stage;
      }
      ptx::wgmma_wait<0>();
      ptx::hold_registers(sum);
      hand_back(last);
      finish(at, sum, consumer);
    }
  }

  // 64 of k.
  static __device__ void multiply(float (&sum)[TileN / 2], uint32_t a, uint32_t b, int accumulate) {
    const uint64_t first_a = ptx::matrix_descriptor(a, kSlab), first_b = ptx::matrix_descriptor(b, kSlab);
    ptx::hold_registers(sum);
    ptx::wgmma_fence();
#pragma unroll
    for (int kk = 0; kk < kHopperDepth / 16; ++kk)
      ptx::wgmma<T, !AKMajor, !BKMajor>(sum, first_a + kk * ((AKMajor ? 32 : 2048) >> 4), first_b + kk * ((BKMajor ? 32 : 2048) >> 4),
                                        kk > 0 || accumulate);
    ptx::wgmma_commit();
  }

  // Through the warp's own piece of shared memory, 64 columns at a time, so that a lane gets 8 neighbours of a row. Groups of 8 columns lie
  // in an order that depends on the row, and every other 4 lanes begin with their upper half: no bank conflicts.
  __device__ void finish(const MatmulBlock& at, const float (&sum)[TileN / 2], int consumer) const {
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32 % 4;
    float* staging = shared.staging[consumer * 4 + warp];
#pragma unroll 1
    for (int column = 0; column < TileN; column += 64) {
      __syncwarp();
#pragma unroll
      for (int k = 0; k < TileN; k += 64) {
        if (k != column) continue;
#pragma unroll
        for (int j = 0; j < 8; ++j)
#pragma unroll
          for (int half = 0; half < 2; ++half) {
            const int row = lane / 4 + half * 8, i = (k / 8 + j) * 4 + half * 2;
            store_vector<float, 2>(staging + row * 64 + (j ^ row % 8) * 8 + lane % 4 * 2, {{sum[i], sum[i + 1]}});
          }
      }
      __syncwarp();
#pragma unroll 1
      for (int row = lane / 8; row < 16; row += 4) {
        const int group = lane % 8 ^ row % 8, upper = group / 4;
        const float* from = staging + row * 64 + group * 8;
        const auto first = load_vector<float, 4>(from + upper * 4), second = load_vector<float, 4>(from + 4 - upper * 4);
        float v[8];
#pragma unroll
        for (int j = 0; j < 4; ++j) {
          v[j] = upper ? second.x[j] : first.x[j];
          v[j + 4] = upper ? first.x[j] : second.x[j];
        }
        finish_row<T>(p, at, at.m + consumer * 64 + warp * 16 + row, at.n + column + lane % 8 * 8, v);
      }
    }
  }
};

template <class T, int TileN, bool AKMajor, bool BKMajor>
__global__ void __launch_bounds__(kHopperThreads, 1)
    matmul_hopper_kernel(const __grid_constant__ MatmulProblem p, const __grid_constant__ CUtensorMap map_a,
                         const __grid_constant__ CUtensorMap map_b) {
  extern __shared__ __align__(1024) unsigned char bytes[];
  using Kernel = HopperKernel<T, TileN, AKMajor, BKMajor>;
  auto& shared = *reinterpret_cast<typename Kernel::Shared*>(bytes);
  const Kernel kernel{p, shared, ptx::cluster_rank(), ptx::cluster_size()};
  if (threadIdx.x == 0) {
    ptx::prefetch_map(&map_a);
    ptx::prefetch_map(&map_b);
    for (int s = 0; s < Kernel::Shared::kStages; ++s) {
      ptx::barrier_init(ptx::shared_address(&shared.full[s]), 1);
      ptx::barrier_init(ptx::shared_address(&shared.empty[s]), kConsumerWarps * kernel.blocks);
    }
    ptx::fence_barrier_init();
  }
  ptx::cluster_sync();
  const int group = static_cast<int>(threadIdx.x) / 128;
  if (group == kConsumers) {
    ptx::give_registers<40>();
    if (threadIdx.x == kConsumers * 128) kernel.produce(&map_a, &map_b);
    __syncwarp();
  } else {
    ptx::take_registers<232>();
    kernel.consume(group);
  }
  ptx::cluster_sync();  // the other block may still signal this one's barriers
}

template <class T>
TensorBox box_of(const void* base, DType type, bool k_major, int64_t rows, int64_t K, int64_t ld, const int64_t (&batch)[2],
                 const int64_t (&stride)[2], int box_rows) {
  TensorBox box{type, base, k_major ? K : rows, k_major ? rows : K, ld, {batch[0], batch[1]}, {stride[0], stride[1]}, 64,
                k_major ? box_rows : 64};
  return box;
}

template <class T, int TileN>
void launch_hopper_tile(const char* name, const MatmulPlan& plan, MatmulProblem p, const MatmulArgs& g) {
  constexpr decltype(&matmul_hopper_kernel<T, TileN, true, true>) kernels[2][2] = {
      {matmul_hopper_kernel<T, TileN, false, false>, matmul_hopper_kernel<T, TileN, false, true>},
      {matmul_hopper_kernel<T, TileN, true, false>, matmul_hopper_kernel<T, TileN, true, true>}};
  const auto kernel = kernels[plan.a_k_major][plan.b_k_major];
  const CUtensorMap a = tensor_map(box_of<T>(g.a, g.type, plan.a_k_major, g.M, g.K, plan.lda, g.batch, g.a_batch, kHopperTileM));
  const CUtensorMap b = tensor_map(box_of<T>(g.b, g.type, plan.b_k_major, g.N, g.K, plan.ldb, g.batch, g.b_batch, TileN / 2));
  p.tiles_m = static_cast<uint32_t>(matmul_config::ceil_div(plan.tiles_m, plan.cluster));
  const uint32_t units = p.tiles_m * p.tiles_n * p.products * p.chunks;
  const auto clusters = static_cast<uint32_t>(
      resident_clusters(reinterpret_cast<const void*>(kernel), plan.cluster, kHopperThreads, sizeof(HopperShared<TileN>)));
  launch_clusters(name, kernel, plan.cluster, std::min(units, clusters) * static_cast<uint32_t>(plan.cluster), kHopperThreads,
                  sizeof(HopperShared<TileN>), p, a, b);
}

// names: of the wide tile, the narrow one.
template <class T>
void launch_hopper(const char* const (&names)[2], const MatmulPlan& plan, const MatmulProblem& p, const MatmulArgs& g) {
  if (plan.tile_n == kHopperWide)
    launch_hopper_tile<T, kHopperWide>(names[0], plan, p, g);
  else
    launch_hopper_tile<T, kHopperNarrow>(names[1], plan, p, g);
}

}  // namespace heddle::cuda
