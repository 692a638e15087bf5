// matmul.cu - c = a * b^T with bf16 tensor cores (sm_80): 128x128x32 tiles, 8 warps of 64x32,
// double-buffered cp.async, ldmatrix, mma.sync.m16n8k16.
#include "gpu/gpu.cuh"
#include "kernels/kernels.h"

namespace {

constexpr int kTileM = 128, kTileN = 128, kTileK = 32;
constexpr int kThreads = 256;
constexpr int kPitch = kTileK + 8;  // 80-byte rows: conflict-free for ldmatrix

using Stage = bf16[kTileM][kPitch];

// Starts copying rows [row0, row0+128) x columns [k0, k0+32) of `src`; outside is zero.
__device__ __forceinline__ void load_tile(Stage& dst, const bf16* src, int row0, int rows, int k0, int k) {
#pragma unroll
  for (int i = 0; i < kTileM * (kTileK / 8) / kThreads; ++i) {
    const int chunk = i * kThreads + threadIdx.x;
    const int r = chunk / (kTileK / 8), c = chunk % (kTileK / 8) * 8;
    const bool inside = row0 + r < rows && k0 + c < k;
    const bf16* from = inside ? src + size_t(row0 + r) * k + k0 + c : src;
    ptx::cp_async_16(ptx::smem_addr(&dst[r][c]), from, inside ? 16 : 0);
  }
}

__global__ void __launch_bounds__(kThreads)
    matmul_tn_kernel(float* __restrict__ c, const bf16* __restrict__ a, const bf16* __restrict__ b, int m, int n, int k) {
  __shared__ Stage tile_a[2];
  __shared__ Stage tile_b[2];
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const int warp_m = warp / 4 * 64, warp_n = warp % 4 * 32;
  const int m0 = blockIdx.y * kTileM, n0 = blockIdx.x * kTileN;
  const int steps = gpu::div_up(k, kTileK);

  float acc[4][4][4] = {};

  load_tile(tile_a[0], a, m0, m, 0, k);
  load_tile(tile_b[0], b, n0, n, 0, k);
  ptx::cp_async_commit();

  for (int step = 0; step < steps; ++step) {
    const int s = step % 2;
    if (step + 1 < steps) {
      load_tile(tile_a[s ^ 1], a, m0, m, (step + 1) * kTileK, k);
      load_tile(tile_b[s ^ 1], b, n0, n, (step + 1) * kTileK, k);
    }
    ptx::cp_async_commit();
    ptx::cp_async_wait<1>();
    __syncthreads();

#pragma unroll
    for (int kk = 0; kk < kTileK; kk += 16) {
      uint32_t fa[4][4], fb[4][2];
#pragma unroll
      for (int i = 0; i < 4; ++i) ptx::ldmatrix_x4(fa[i], ptx::smem_addr(&tile_a[s][warp_m + i * 16 + lane % 16][kk + lane / 16 * 8]));
#pragma unroll
      for (int j = 0; j < 4; j += 2) {
        uint32_t r[4];
        ptx::ldmatrix_x4(r, ptx::smem_addr(&tile_b[s][warp_n + j * 8 + lane / 16 * 8 + lane % 8][kk + lane / 8 % 2 * 8]));
        fb[j][0] = r[0];
        fb[j][1] = r[1];
        fb[j + 1][0] = r[2];
        fb[j + 1][1] = r[3];
      }
#pragma unroll
      for (int i = 0; i < 4; ++i)
#pragma unroll
        for (int j = 0; j < 4; ++j) ptx::mma_m16n8k16_bf16(acc[i][j], fa[i], fb[j]);
    }
    __syncthreads();
  }
  ptx::cp_async_wait<0>();

#pragma unroll
  for (int i = 0; i < 4; ++i)
#pragma unroll
    for (int j = 0; j < 4; ++j)
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        const int row = m0 + warp_m + i * 16 + lane / 4 + e / 2 * 8;
        const int col = n0 + warp_n + j * 8 + lane % 4 * 2 + e % 2;
        if (row < m && col < n) c[size_t(row) * n + col] = acc[i][j][e];
      }
}

}  // namespace

void matmul_tn(float* c, const bf16* a, const bf16* b, int m, int n, int k, cudaStream_t stream) {
  const dim3 grid(gpu::div_up(n, kTileN), gpu::div_up(m, kTileM));
  gpu::launch(matmul_tn_kernel, {grid, kThreads, 0, stream}, c, a, b, m, n, k);
}
