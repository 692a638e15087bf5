#pragma once
// Matmul on Hopper: persistent blocks of a producer and two consumer warpgroups, for *_sm90.cu.
//
// One thread of the producer has the copy engine fill stages of 128 bytes of k, ahead of the consumers. Each consumer multiplies its half
// of the TileM x TileN tile, 64 rows of it or, where those are all, half of the columns (wgmma, operands in shared memory in any of the
// four layouts, sums in registers), hands a stage back when its products are done, and finishes its half while the producer already fills
// stages for the next tile.
//
// Two blocks of a cluster compute tiles below each other. They need the same tile of b: each fetches half of it for both. So a stage is
// full when what both have fetched is there, and empty when the consumers of both are done with it.
//
// Codes of fp8, 128 of k a stage, are K-major. Of their products Hopper's tensor cores keep about 14 bits while they add them up
// (DeepSeek-AI, "DeepSeek-V3 Technical Report", 2024, section 3.3.2), so each stage has a sum of its own, which the threads add to an f32.
//
// Sums over rows in chunks of K (turns.cuh) have a unit per cluster, dealt out as clusters start; each warp waits for its own rows' turn.
#include <cuda.h>

#include "common/types.cuh"
#include "matmul/hopper_finish.cuh"
#include "matmul/problem.cuh"
#include "matmul/turns.cuh"
#include "ptx/async.cuh"
#include "ptx/cluster.cuh"
#include "ptx/mbarrier.cuh"
#include "ptx/registers.cuh"
#include "ptx/tensor.cuh"
#include "ptx/wgmma.cuh"
#include "tile/ring.cuh"

namespace heddle::cuda {

constexpr int kHopperThreads = 384, kConsumers = 2, kConsumerWarps = 4 * kConsumers;
constexpr int kSlab = 64 * 128;  // bytes: 64 rows of 128 bytes

template <int TileM, int TileN>
struct HopperShared {
  static constexpr int kBytesA = TileM * 128, kBytesB = TileN * 128;
  static constexpr int kStages = 192 * 1024 / (kBytesA + kBytesB);
  unsigned char a[kStages][kBytesA], b[kStages][kBytesB];
  unsigned char staging[kConsumerWarps][kWarpStaging];
  uint64_t full[kStages], empty[kStages], arrived[kConsumerWarps][2];
  uint32_t ticket;
};

// One operand's tiles, of m or n by 128 bytes of k, as the copy engine puts them into a stage: K-major in one box, otherwise a slab of 64
// of m or n after another.
template <bool KMajor>
struct BoxLoader {
  const CUtensorMap* map;
  int row, batch0, batch1;

  // Rows first .. first + Count - 1 of the tile, or Count of k of a slab that is the whole tile, to every block of the cluster in `blocks`;
  // 0: to this one.
  template <int Count>
  __device__ void load(uint32_t stage, uint32_t full, int first, int k, uint16_t blocks) const {
    constexpr bool kPart = !KMajor && Count < 64;
    constexpr int kBoxRows = KMajor ? Count : 64;
#pragma unroll
    for (int at = 0; at < Count; at += kBoxRows) {
      const uint32_t to = stage + (first + at) * 128;
      const int along = kPart ? 0 : first + at, deep = kPart ? first : 0;
      const int x = KMajor ? k : row + along, y = KMajor ? row + along : k + deep;
      if (blocks)
        ptx::load_box_multicast(to, map, full, blocks, x, y, batch1, batch0);
      else
        ptx::load_box(to, map, full, x, y, batch1, batch0);
    }
  }
};

// What is multiplied: numbers of 16 bits, or codes of fp8 with results, and whatever the epilogue reads, of type T.
template <class T, FP8 A, FP8 B>
struct Codes {};
template <class T>
struct Operands {
  using Result = T;
  static constexpr bool kCodes = false;
  template <bool AKMajor, bool BKMajor, int R>
  static __device__ void multiply(float (&sum)[R], uint64_t a, uint64_t b, int accumulate) {
    ptx::wgmma<T, !AKMajor, !BKMajor>(sum, a, b, accumulate);
  }
};
template <class T, FP8 A, FP8 B>
struct Operands<Codes<T, A, B>> {
  using Result = T;
  static constexpr bool kCodes = true;
  template <bool AKMajor, bool BKMajor, int R>
  static __device__ void multiply(float (&sum)[R], uint64_t a, uint64_t b, int accumulate) {
    static_assert(AKMajor && BKMajor);
    ptx::wgmma_codes<A, B>(sum, a, b, accumulate);
  }
};

template <class What, int TileM, int TileN, bool AKMajor, bool BKMajor>
struct HopperKernel {
  using Shared = HopperShared<TileM, TileN>;
  using T = typename Operands<What>::Result;
  static constexpr bool kCodes = Operands<What>::kCodes;
  static constexpr int kDepth = kCodes ? 128 : 64;  // 128 bytes
  static constexpr bool kAcross = TileM == 64;      // the consumers stand beside each other
  static constexpr int kWidth = kAcross ? TileN / 2 : TileN;
  using Stages = Ring<Shared::kStages>;
  const MatmulProblem& p;
  Shared& shared;
  uint32_t rank, blocks;   // of the cluster
  uint32_t first, stride;  // its units of work

  static __device__ uint32_t address(const void* x) { return ptx::shared_address(x); }
  __device__ MatmulBlock block(uint32_t unit) const {
    MatmulBlock at(p, unit, TileM * static_cast<int>(blocks), TileN);
    at.m += rank * TileM;
    return at;
  }
  static __device__ int steps(const MatmulBlock& at) { return static_cast<int>((at.k_last - at.k_first + kDepth - 1) / kDepth); }
  __device__ uint32_t units() const { return p.tiles_m * p.tiles_n * p.products * p.chunks; }

  __device__ void produce(const CUtensorMap* map_a, const CUtensorMap* map_b) const {
    Stages to;
    for (uint32_t unit = first; unit < units(); unit += stride) {
      const MatmulBlock at = block(unit);
      const int i = static_cast<int>(at.product / p.batch1), j = static_cast<int>(at.product % p.batch1);
      // a broadcast dimension has one place
      const BoxLoader<AKMajor> a{map_a, static_cast<int>(at.m), p.a_batch[0] ? i : 0, p.a_batch[1] ? j : 0};
      const BoxLoader<BKMajor> b{map_b, static_cast<int>(at.n), p.b_batch[0] ? i : 0, p.b_batch[1] ? j : 0};
      int k = static_cast<int>(at.k_first);
      for (int step = steps(at); step > 0; --step, k += kDepth, to.next()) {
        ptx::barrier_wait<true>(address(&shared.empty[to.stage]), to.parity ^ 1);  // the first lap finds them empty
        const uint32_t full = address(&shared.full[to.stage]);
        ptx::barrier_expect(full, Shared::kBytesA + Shared::kBytesB);
        a.template load<TileM>(address(shared.a[to.stage]), full, 0, k, 0);
        if (blocks == 2)
          b.template load<TileN / 2>(address(shared.b[to.stage]), full, static_cast<int>(rank) * (TileN / 2), k, 3);
        else
          b.template load<TileN / 2>(address(shared.b[to.stage]), full, 0, k, 0),
              b.template load<TileN / 2>(address(shared.b[to.stage]), full, TileN / 2, k, 0);
      }
    }
  }

  // The warp's products of this stage are done; its first lanes say so to the producers of the cluster's blocks.
  __device__ void hand_back(int stage) const {
    const uint32_t lane = threadIdx.x % 32;
    __syncwarp();
    if (lane < blocks) ptx::barrier_arrive(address(&shared.empty[stage]), lane);
  }

  __device__ void consume(const BoxMaps* maps) const {
    Stages from;
    float sum[kWidth / 2];
    const int warp = static_cast<int>(threadIdx.x) / 32, consumer = warp / 4;
    const uint32_t half = consumer * kSlab, half_a = kAcross ? 0 : half, half_b = kAcross ? half * (kWidth / 64) : 0;
    BoxFinish<T, kWidth> boxes(p, maps, address(shared.staging[warp]), address(shared.arrived[warp]));
    for (uint32_t unit = first; unit < units(); unit += stride) {
      MatmulBlock at = block(unit);
      if (kAcross) at.n += consumer * kWidth;
      const int total = steps(at), late = min(total, 4);
      if constexpr (kCodes)
#pragma unroll
        for (int i = 0; i < kWidth / 2; ++i) sum[i] = 0;
      int last = -1;  // the stage whose products may still be under way
      for (int left = total; left > 0; --left, from.next()) {
        if (p.box_stores && left == late) boxes.prefetch(at, row_of(at, warp));
        ptx::barrier_wait<true>(address(&shared.full[from.stage]), from.parity);
        const uint32_t a = address(shared.a[from.stage]) + half_a, b = address(shared.b[from.stage]) + half_b;
        if constexpr (kCodes) {
          float part[kWidth / 2];
          multiply(part, a, b, false);
          ptx::wgmma_wait<0>();
          ptx::hold_registers(part);
          hand_back(from.stage);
#pragma unroll
          for (int i = 0; i < kWidth / 2; ++i) sum[i] = sum[i] + part[i];
        } else {
          multiply(sum, a, b, left < total);
          ptx::wgmma_wait<1>();
          if (last >= 0) hand_back(last);
          last = from.stage;
        }
      }
      if constexpr (!kCodes) {
        ptx::wgmma_wait<0>();
        ptx::hold_registers(sum);
        hand_back(last);
      }
      if (p.box_stores)
        boxes.run(at, row_of(at, warp), sum);
      else
        finish(at, warp, sum);
    }
    boxes.leave();
  }

  // A stage.
  static __device__ void multiply(float (&sum)[kWidth / 2], uint32_t a, uint32_t b, int accumulate) {
    const uint64_t first_a = ptx::matrix_descriptor(a, kSlab), first_b = ptx::matrix_descriptor(b, kSlab);
    ptx::hold_registers(sum);
    ptx::wgmma_fence();
#pragma unroll
    for (int kk = 0; kk < 4; ++kk) {
      const uint64_t at_a = first_a + kk * ((AKMajor ? 32 : 2048) >> 4), at_b = first_b + kk * ((BKMajor ? 32 : 2048) >> 4);
      Operands<What>::template multiply<AKMajor, BKMajor>(sum, at_a, at_b, kk > 0 || accumulate);
    }
    ptx::wgmma_commit();
  }

  // Whoever waits for a turn finishes its rows at once: what of c was there before is read.
  __device__ void finish(const MatmulBlock& at, int warp, const float (&sum)[kWidth / 2]) const {
    const uint32_t piece = rank * kConsumerWarps + warp;
    const bool turns = !AKMajor && p.turns && threadIdx.x % 32 == 0;
    if (turns) wait_for_turn(p, at, piece);
    finish_rows<T, kWidth>(p, at, row_of(at, warp), sum, address(shared.staging[warp]));
    if (turns) pass_turn(p, at, piece);
  }
  static __device__ int64_t row_of(const MatmulBlock& at, int warp) { return at.m + warp % (TileM / 16) * 16; }
};

template <class What, int TileM, int TileN, bool AKMajor, bool BKMajor>
__global__ void __launch_bounds__(kHopperThreads, 1)
    matmul_hopper_kernel(const __grid_constant__ MatmulProblem p, const __grid_constant__ CUtensorMap map_a,
                         const __grid_constant__ CUtensorMap map_b, const __grid_constant__ BoxMaps maps) {
  extern __shared__ __align__(1024) unsigned char bytes[];
  using Kernel = HopperKernel<What, TileM, TileN, AKMajor, BKMajor>;
  auto& shared = *reinterpret_cast<typename Kernel::Shared*>(bytes);
  Kernel kernel{p, shared, ptx::cluster_rank(), ptx::cluster_size(), 0, 0};
  if (threadIdx.x == 0) {
    ptx::prefetch_map(&map_a);
    ptx::prefetch_map(&map_b);
    for (int s = 0; s < Kernel::Shared::kStages; ++s) {
      ptx::barrier_init(ptx::shared_address(&shared.full[s]), 1);
      ptx::barrier_init(ptx::shared_address(&shared.empty[s]), kConsumerWarps * kernel.blocks);
    }
    for (int i = 0; i < 2 * kConsumerWarps; ++i) ptx::barrier_init(ptx::shared_address(&shared.arrived[0][i]), 1);
    ptx::fence_barrier_init();
  }
  ptx::cluster_sync();
  kernel.first = blockIdx.x / kernel.blocks;
  kernel.stride = gridDim.x / kernel.blocks;
  if (!AKMajor && p.turns) {  // after the barrier: only a block that has started has shared memory
    if (kernel.rank == 0 && threadIdx.x == 0) {
      const uint32_t ticket = take_ticket(p);
      for (uint32_t r = 0; r < kernel.blocks; ++r) ptx::cluster_store(ptx::shared_address(&shared.ticket), r, ticket);
    }
    ptx::cluster_sync();
    kernel.first = shared.ticket;
  }
  if (threadIdx.x >= kConsumers * 128) {
    ptx::give_registers<40>();
    if (threadIdx.x == kConsumers * 128) kernel.produce(&map_a, &map_b);
    __syncwarp();
  } else {
    ptx::take_registers<232>();
    kernel.consume(&maps);
  }
  ptx::cluster_sync();  // the other block may still signal this one's barriers
}

}  // namespace heddle::cuda
