// f32 on the FMA units, any layout and alignment: a block of 256 threads computes T x T of c (T = 128 or 64), 8 of k at a time; a thread
// computes (T/16) x (T/16), as 4 x 4 pieces T/2 apart. The next tiles are read while these are multiplied.
#include "matmul/launch.h"
#include "matmul/problem.cuh"
#include "matmul/turns.cuh"
#include "runtime/launch.cuh"

namespace heddle::cuda {
namespace {

constexpr int kThreads = 256, kDepth = 8;

// T rows (m or n) by kDepth of k of one operand: global memory to registers, registers to shared memory, there always [k][row].
// A pitch of T + 4 floats spreads the 32 stores of a warp over all banks in both layouts.
template <int T, bool KMajor>
struct OperandTile {
  static constexpr int kLoads = T * kDepth / kThreads, kPitch = T + 4;
  float value[kLoads];

  static __device__ int row_of(int i) { return KMajor ? threadIdx.x / kDepth + i * (kThreads / kDepth) : threadIdx.x % T; }
  static __device__ int k_of(int i) { return KMajor ? threadIdx.x % kDepth : threadIdx.x / T + i * (kThreads / T); }

  __device__ void fetch(const float* from, int64_t ld, int64_t row0, int64_t rows, int64_t k0, int64_t k_last) {
#pragma unroll
    for (int i = 0; i < kLoads; ++i) {
      const int64_t row = row0 + row_of(i), k = k0 + k_of(i);
      value[i] = row < rows && k < k_last ? from[KMajor ? row * ld + k : k * ld + row] : 0.0f;
    }
  }
  __device__ void put(float* shared) const {
#pragma unroll
    for (int i = 0; i < kLoads; ++i) shared[k_of(i) * kPitch + row_of(i)] = value[i];
  }
};

template <int T, bool AKMajor, bool BKMajor>
__global__ void __launch_bounds__(kThreads, T == kLargeTile ? 1 : 2) matmul_fma_kernel(MatmulProblem p) {
  constexpr int kPieces = T / 64, kSide = 4 * kPieces, kPitch = T + 4;
  __shared__ __align__(16) float tile_a[2][kDepth * kPitch], tile_b[2][kDepth * kPitch];
  const MatmulBlock at(p, BlockTurn<AKMajor>::unit(p), T, T);
  const float* a = static_cast<const float*>(p.a) + at.a;
  const float* b = static_cast<const float*>(p.b) + at.b;
  // 8 warps as 4 x 2, lanes as 4 x 8: a warp reads 4 different vectors of a and 8 neighbouring ones of b
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const int row = (warp / 2 * 4 + lane / 8) * 4, col = (warp % 2 * 8 + lane % 8) * 4;

  float sum[kSide][kSide] = {};
  OperandTile<T, AKMajor> next_a;
  OperandTile<T, BKMajor> next_b;
  next_a.fetch(a, p.lda, at.m, p.M, at.k_first, at.k_last);
  next_b.fetch(b, p.ldb, at.n, p.N, at.k_first, at.k_last);
  next_a.put(tile_a[0]);
  next_b.put(tile_b[0]);
  __syncthreads();

  int stage = 0;
  for (int64_t k0 = at.k_first; k0 < at.k_last; k0 += kDepth, stage ^= 1) {
    const bool more = k0 + kDepth < at.k_last;
    if (more) {
      next_a.fetch(a, p.lda, at.m, p.M, k0 + kDepth, at.k_last);
      next_b.fetch(b, p.ldb, at.n, p.N, k0 + kDepth, at.k_last);
    }
#pragma unroll
    for (int k = 0; k < kDepth; ++k) {
      float x[kSide], y[kSide];
#pragma unroll
      for (int i = 0; i < kPieces; ++i) {
        const auto vx = load_vector<float, 4>(tile_a[stage] + k * kPitch + i * 64 + row);
        const auto vy = load_vector<float, 4>(tile_b[stage] + k * kPitch + i * 64 + col);
#pragma unroll
        for (int j = 0; j < 4; ++j) {
          x[i * 4 + j] = vx.x[j];
          y[i * 4 + j] = vy.x[j];
        }
      }
#pragma unroll
      for (int i = 0; i < kSide; ++i)
#pragma unroll
        for (int j = 0; j < kSide; ++j) sum[i][j] = fmaf(x[i], y[j], sum[i][j]);
    }
    if (more) {
      next_a.put(tile_a[stage ^ 1]);
      next_b.put(tile_b[stage ^ 1]);
    }
    __syncthreads();
  }

  BlockTurn<AKMajor>::wait(p, at);
#pragma unroll
  for (int i = 0; i < kSide; ++i)
#pragma unroll
    for (int j = 0; j < kSide; j += 4) {
      float v[4] = {sum[i][j], sum[i][j + 1], sum[i][j + 2], sum[i][j + 3]};
      finish_row<float, float>(p, at, at.m + i / 4 * 64 + row + i % 4, at.n + j / 4 * 64 + col, v);
    }
  BlockTurn<AKMajor>::pass(p, at);
}

template <int T>
void launch_tile(const MatmulPlan& plan, const MatmulProblem& p, unsigned blocks) {
  constexpr decltype(&matmul_fma_kernel<T, true, true>) kernels[2][2] = {
      {matmul_fma_kernel<T, false, false>, matmul_fma_kernel<T, false, true>},
      {matmul_fma_kernel<T, true, false>, matmul_fma_kernel<T, true, true>}};
  constexpr bool kLarge = T == kLargeTile;
  const char* const name = kLarge ? "matmul f32 128x128x8" : "matmul f32 64x64x8";
  const char* const in_turns = kLarge ? "matmul f32 128x128x8 stream-K" : "matmul f32 64x64x8 stream-K";
  launch(p.turns ? in_turns : name, kernels[plan.a_k_major][plan.b_k_major], blocks, kThreads, 0, p);
}

}  // namespace

void launch_fma(const MatmulPlan& plan, const MatmulProblem& p, unsigned blocks) {
  plan.tile_n == kLargeTile ? launch_tile<kLargeTile>(plan, p, blocks) : launch_tile<kSmallTile>(plan, p, blocks);
}

}  // namespace heddle::cuda
