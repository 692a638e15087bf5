#pragma once
// Matmul on the tensor cores by mma.sync: a block of 4 warps computes Tile x Tile of c, a warp (Tile/2) x (Tile/2), 64 bytes of k at a
// time.
//
// Aligned operands on sm_80 and newer: cp.async fills stages ahead of the one that is read; fragments of the next 32 bytes of k are
// read while these are multiplied; one barrier per tile of k. Otherwise two stages, filled through registers.
// Large tiles serve aligned operands only.
#include "common/types.cuh"
#include "matmul/launch.h"
#include "matmul/problem.cuh"
#include "matmul/turns.cuh"
#include "ptx/async.cuh"
#include "ptx/matrix.cuh"
#include "runtime/launch.cuh"
#include "tile/fragments.cuh"
#include "tile/load.cuh"

namespace heddle::cuda {

constexpr int kMmaThreads = 128;

// The products of a warp: 16-row fragments of a by 8-column fragments of b.
template <class T, int Tile, bool AKMajor, bool BKMajor>
struct WarpTile {
  static constexpr int kSide = Tile / 2, kRows = kSide / 16, kPairs = kSide / 16;
  // Fragments of this step of k and of the next; large tiles of tf32 have no registers left for a second set
  static constexpr bool kAhead = Tile == kSmallTile || sizeof(T) == 2;
  FragmentReader<T, Tile, AKMajor, true> read_a;
  FragmentReader<T, Tile, BKMajor, false> read_b;
  uint32_t a[kAhead + 1][kRows][4], b[kAhead + 1][kPairs][4];
  float sum[kRows][2 * kPairs][4];

  __device__ WarpTile(int row, int col) : read_a(row), read_b(col), sum{} {}

  __device__ void read(int to, uint32_t stage, int kk) {
#pragma unroll
    for (int i = 0; i < kRows; ++i) read_a.read(a[to][i], stage, i, kk);
#pragma unroll
    for (int j = 0; j < kPairs; ++j) read_b.read(b[to][j], stage + Tile * kTileRowBytes, j, kk);
  }
  __device__ void multiply(int from) {
#pragma unroll
    for (int i = 0; i < kRows; ++i)
#pragma unroll
      for (int j = 0; j < 2 * kPairs; ++j) ptx::mma<T>(sum[i][j], a[from][i], b[from][j / 2][j % 2 * 2], b[from][j / 2][j % 2 * 2 + 1]);
  }

  // Through the warp's own piece of shared memory, 16 rows at a time.
  __device__ void finish(const MatmulProblem& p, const MatmulBlock& at, int row, int col, float* shared) {
    const int lane = threadIdx.x % 32;
#pragma unroll 1
    for (int i = 0; i < kRows; ++i) {
      __syncwarp();
#pragma unroll
      for (int k = 0; k < kRows; ++k) {
        if (k != i) continue;
#pragma unroll
        for (int j = 0; j < 2 * kPairs; ++j) {
          float* to = shared + lane / 4 * kPitch + j * 8 + lane % 4 * 2;
          keep_vector<float, 2>(to, {{sum[k][j][0], sum[k][j][1]}});
          keep_vector<float, 2>(to + 8 * kPitch, {{sum[k][j][2], sum[k][j][3]}});
        }
      }
      __syncwarp();
      if (sizeof(T) == 4 || p.c_f32)
        finish_part<float, kSide / 2>(p, at, at.m + row + i * 16, at.n + col, shared);
      else
        finish_part<T, 4>(p, at, at.m + row + i * 16, at.n + col, shared);
    }
  }

 private:
  static constexpr int kPitch = kSide + 8;

  // 16 rows. A lane has 8 neighbours, 16 bytes of 16 bits; of f32 two fours Gap apart, so that lanes side by side store side by side.
  template <class C, int Gap>
  static __device__ void finish_part(const MatmulProblem& p, const MatmulBlock& at, int64_t m, int64_t n, const float* shared) {
    constexpr int kLanes = kSide / 8;  // of a row
    const int lane = threadIdx.x % 32, column = lane % kLanes * (Gap == 4 ? 8 : 4);
    const int turned = Gap == 4 ? lane / 4 % 2 : 0;  // every other 4 lanes begin with their second four: no bank conflicts
#pragma unroll 1
    for (int r = lane / kLanes; r < 16; r += 32 / kLanes) {
      const float* from = shared + r * kPitch + column;
      const auto one = load_vector<float, 4>(from + turned * 4), other = load_vector<float, 4>(from + (turned ? 0 : Gap));
      float v[8];
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        v[j] = turned ? other.x[j] : one.x[j];
        v[j + 4] = turned ? one.x[j] : other.x[j];
      }
      finish_row<T, C, Gap>(p, at, m + r, n + column, v);
    }
  }
};

// Waits until the tile after the one that is read has landed.
__device__ inline void wait_for_stage(int stages) {
  if (stages == 4)
    ptx::wait_copies<2>();
  else
    ptx::wait_copies<1>();
}

template <class T, int Tile, bool AKMajor, bool BKMajor, bool Aligned>
__global__ void __launch_bounds__(kMmaThreads, 2) matmul_mma_kernel(MatmulProblem p) {
  if constexpr (ptx::has_mma<T>()) {
    extern __shared__ __align__(1024) unsigned char shared[];
    using LoadA = TileLoader<T, Tile, AKMajor, kMmaThreads>;
    using LoadB = TileLoader<T, Tile, BKMajor, kMmaThreads>;
    constexpr int kDepth = LoadA::kDepth, kStage = LoadA::kBytes + LoadB::kBytes;
    const MatmulBlock at(p, BlockTurn<AKMajor>::unit(p), Tile, Tile);
    LoadA load_a(static_cast<const T*>(p.a) + at.a, p.lda, at.m, p.M, at.k_first);
    LoadB load_b(static_cast<const T*>(p.b) + at.b, p.ldb, at.n, p.N, at.k_first);
    const int warp = threadIdx.x / 32, row = warp / 2 * (Tile / 2), col = warp % 2 * (Tile / 2);
    WarpTile<T, Tile, AKMajor, BKMajor> warp_tile(row, col);
    const uint32_t base = ptx::shared_address(shared);
    int64_t left = at.k_last - at.k_first;  // of k, not yet on its way
    const auto depth = [&] { return static_cast<int>(left < kDepth ? left : kDepth); };
    int64_t tiles = (left + kDepth - 1) / kDepth;

#if __CUDA_ARCH__ >= 800
    constexpr bool kAsync = Aligned;
#else
    constexpr bool kAsync = false;
#endif
    if constexpr (kAsync) {
      const auto load_whole = [&](uint32_t stage) {
        load_a.copy(stage);
        load_b.copy(stage + LoadA::kBytes);
        left -= kDepth;
        ptx::commit_copies();
      };
      const auto load = [&](uint32_t stage) {
        if (left >= kDepth) return load_whole(stage);
        if (left > 0) {
          load_a.copy(stage, static_cast<int>(left));
          load_b.copy(stage + LoadA::kBytes, static_cast<int>(left));
        }
        left = 0;
        ptx::commit_copies();  // also an empty group: the wait counts groups
      };
      const uint32_t end = base + p.stages * kStage;
      const auto next = [&](uint32_t stage) { return stage + kStage == end ? base : stage + kStage; };
      for (uint32_t stage = base; stage + kStage != end; stage += kStage) load(stage);
      wait_for_stage(p.stages);
      __syncthreads();
      constexpr bool kAhead = decltype(warp_tile)::kAhead;
      if (kAhead && tiles > 0) warp_tile.read(0, base, 0);
      uint32_t reading = base, writing = end - kStage;  // the latter was read last
      const auto multiply = [&](auto load_next, bool more) {
        warp_tile.read(kAhead, reading, kAhead);
        load_next(writing);
        writing = next(writing);
        warp_tile.multiply(0);
        if constexpr (!kAhead) {
          warp_tile.read(0, reading, 1);
          warp_tile.multiply(0);
        }
        reading = next(reading);
        wait_for_stage(p.stages);
        __syncthreads();
        if constexpr (kAhead) {
          if (more) warp_tile.read(0, reading, 0);
          warp_tile.multiply(1);
        }
      };
      // No branches while whole tiles are to be copied: their addresses are computed among the products.
#pragma unroll 1
      for (; left >= kDepth; --tiles) multiply(load_whole, true);
#pragma unroll 1
      for (; tiles > 0; --tiles) multiply(load, tiles > 1);
      ptx::wait_copies<0>();
    } else {
      // a's next tile passes through registers during the first half of this one, b's during the second
      if (tiles > 0) {
        load_a.template fetch<Aligned>(depth());
        load_a.put(shared);
        load_b.template fetch<Aligned>(depth());
        load_b.put(shared + LoadA::kBytes);
      }
      __syncthreads();
      for (int stage = 0; tiles > 0; --tiles, stage ^= 1) {
        const uint32_t tile = base + stage * kStage;
        unsigned char* const next = shared + (stage ^ 1) * kStage;
        left -= kDepth;
        if (left > 0) load_a.template fetch<Aligned>(depth());
        warp_tile.read(0, tile, 0);
        warp_tile.multiply(0);
        if (left > 0) {
          load_a.put(next);
          load_b.template fetch<Aligned>(depth());
        }
        warp_tile.read(0, tile, 1);
        warp_tile.multiply(0);
        if (left > 0) load_b.put(next + LoadA::kBytes);
        __syncthreads();
      }
    }
    __syncthreads();  // the stages become staging
    BlockTurn<AKMajor>::wait(p, at);
    warp_tile.finish(p, at, row, col, reinterpret_cast<float*>(shared) + warp * 16 * (Tile / 2 + 8));
    BlockTurn<AKMajor>::pass(p, at);
  }
}

template <class T, int Tile, bool Aligned>
void launch_mma_tile(const char* name, const MatmulPlan& plan, const MatmulProblem& p, unsigned blocks) {
  constexpr decltype(&matmul_mma_kernel<T, Tile, true, true, Aligned>) kernels[2][2] = {
      {matmul_mma_kernel<T, Tile, false, false, Aligned>, matmul_mma_kernel<T, Tile, false, true, Aligned>},
      {matmul_mma_kernel<T, Tile, true, false, Aligned>, matmul_mma_kernel<T, Tile, true, true, Aligned>}};
  launch(name, kernels[plan.a_k_major][plan.b_k_major], blocks, kMmaThreads, plan.shared, p);
}

// all: names of the large tile, the small one, the small one for operands that are not aligned; the same where blocks take turns.
template <class T>
void launch_mma(const char* const (&all)[2][3], const MatmulPlan& plan, const MatmulProblem& p, unsigned blocks) {
  const auto& names = all[p.turns != nullptr];
  if (plan.tile_n == kLargeTile)
    launch_mma_tile<T, kLargeTile, true>(names[0], plan, p, blocks);
  else if (plan.vector_loads)
    launch_mma_tile<T, kSmallTile, true>(names[1], plan, p, blocks);
  else
    launch_mma_tile<T, kSmallTile, false>(names[2], plan, p, blocks);
}

}  // namespace heddle::cuda
