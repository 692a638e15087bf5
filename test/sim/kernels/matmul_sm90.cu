// matmul_sm90.cu - c = a * op(b) for Hopper: 128x128x64 tiles, 4-stage TMA pipeline, one producer
// warpgroup and two consumer warpgroups of 64x128 (wgmma), result staged and written by TMA.
#include "gpu/gpu.cuh"
#include "kernels/kernels.h"

namespace {

constexpr int kTileM = 128, kTileN = 128, kTileK = 64;
constexpr int kStages = 4;
constexpr int kConsumers = 2;  // warpgroups
constexpr int kThreads = 128 * (1 + kConsumers);
constexpr int kTileBytes = 128 * 64 * 2;  // every tile is 128 x 64 (or two halves 64 x 64) bf16

struct Smem {
  unsigned char a[kStages][kTileBytes];
  unsigned char b[kStages][kTileBytes];  // K-major: [128 n][64 k];  N-major: two of [64 k][64 n]
  unsigned char c[2][kTileBytes];        // columns 0-63 and 64-127, each [128 m][64 n]
  uint64_t full[kStages], empty[kStages];
};

template <bool BNMajor>
__device__ __forceinline__ void produce(Smem& smem, const CUtensorMap* map_a, const CUtensorMap* map_b, int m0, int n0, int steps) {
  for (int step = 0; step < steps; ++step) {
    const int s = step % kStages, round = step / kStages;
    ptx::mbar_wait(&smem.empty[s], (round & 1) ^ 1);  // the first round passes at once
    ptx::mbar_arrive_expect_tx(&smem.full[s], 2 * kTileBytes);
    ptx::tma_load_2d(smem.a[s], map_a, &smem.full[s], step * kTileK, m0);
    if constexpr (BNMajor) {
      ptx::tma_load_2d(smem.b[s], map_b, &smem.full[s], n0, step * kTileK);
      ptx::tma_load_2d(smem.b[s] + kTileBytes / 2, map_b, &smem.full[s], n0 + 64, step * kTileK);
    } else {
      ptx::tma_load_2d(smem.b[s], map_b, &smem.full[s], step * kTileK, n0);
    }
  }
}

template <bool BNMajor>
__device__ __forceinline__ void consume(Smem& smem, const CUtensorMap* map_c, int group, int m0, int n0, int steps) {
  const int tid = threadIdx.x % 128, lane = tid % 32, warp = tid / 32;
  float acc[64] = {};
  for (int step = 0; step < steps; ++step) {
    const int s = step % kStages;
    ptx::mbar_wait(&smem.full[s], step / kStages & 1);
    const uint32_t a = ptx::smem_addr(smem.a[s]) + group * 64 * 128;
    const uint32_t b = ptx::smem_addr(smem.b[s]);
    ptx::wgmma_fence();
#pragma unroll
    for (int kk = 0; kk < kTileK; kk += 16) {
      const uint64_t desc_a = gpu::wgmma_desc_sw128(a + kk * 2, 16, 1024);
      const uint64_t desc_b =
          BNMajor ? gpu::wgmma_desc_sw128(b + kk * 128, kTileBytes / 2, 1024) : gpu::wgmma_desc_sw128(b + kk * 2, 16, 1024);
      ptx::wgmma_m64n128k16_bf16<BNMajor>(acc, desc_a, desc_b, 1);
    }
    ptx::wgmma_commit();
    ptx::wgmma_wait<0>();
    ptx::mbar_arrive(&smem.empty[s]);
  }

  // Registers -> swizzled staging tile -> TMA store, for this warpgroup's 64 rows.
#pragma unroll
  for (int n = 0; n < kTileN; n += 16) {  // 16 rows x 16 columns per stmatrix
    const float* f = &acc[n / 2];
    const uint32_t r[4] = {gpu::pack_bf16(f[0], f[1]), gpu::pack_bf16(f[2], f[3]), gpu::pack_bf16(f[4], f[5]), gpu::pack_bf16(f[6], f[7])};
    const int row = group * 64 + warp * 16 + lane % 16, col = n % 64 + lane / 16 * 8;
    const uint32_t offset = row * 128 + ((col / 8) ^ (row % 8)) * 16;
    ptx::stmatrix_x4(ptx::smem_addr(smem.c[n / 64]) + offset, r);
  }
  ptx::fence_proxy_async();
  ptx::named_barrier_sync(1 + group, 128);
  if (tid == 0) {
#pragma unroll
    for (int half = 0; half < 2; ++half) ptx::tma_store_2d(map_c, smem.c[half] + group * 64 * 128, n0 + half * 64, m0 + group * 64);
    ptx::tma_store_commit();
    ptx::tma_store_wait<0>();
  }
}

template <bool BNMajor>
__global__ void __launch_bounds__(kThreads, 1)
    matmul_sm90_kernel(const __grid_constant__ CUtensorMap map_a, const __grid_constant__ CUtensorMap map_b,
                       const __grid_constant__ CUtensorMap map_c, int k) {
#if GPU_SM90A
  extern __shared__ __align__(1024) unsigned char raw[];
  Smem& smem = *reinterpret_cast<Smem*>(raw);
  const int m0 = blockIdx.y * kTileM, n0 = blockIdx.x * kTileN;
  const int steps = gpu::div_up(k, kTileK);

  if (threadIdx.x == 0) {
    for (int s = 0; s < kStages; ++s) {
      ptx::mbar_init(&smem.full[s], 1);
      ptx::mbar_init(&smem.empty[s], 128 * kConsumers);
    }
    ptx::mbar_fence_init();
  }
  __syncthreads();

  const int group = threadIdx.x / 128;
  if (group == kConsumers) {
    ptx::setmaxnreg_dec<40>();
    if (threadIdx.x == kConsumers * 128) produce<BNMajor>(smem, &map_a, &map_b, m0, n0, steps);
  } else {
    ptx::setmaxnreg_inc<232>();
    consume<BNMajor>(smem, &map_c, group, m0, n0, steps);
  }
#endif
}

template <bool BNMajor>
void matmul_sm90(bf16* c, const bf16* a, const bf16* b, int m, int n, int k, cudaStream_t stream) {
  const CUtensorMap map_a = ptx::make_tma_2d_bf16(a, m, k, kTileM, kTileK);
  const CUtensorMap map_b = BNMajor ? ptx::make_tma_2d_bf16(b, k, n, kTileK, 64) : ptx::make_tma_2d_bf16(b, n, k, kTileN, kTileK);
  const CUtensorMap map_c = ptx::make_tma_2d_bf16(c, m, n, 64, 64);
  const dim3 grid(gpu::div_up(n, kTileN), gpu::div_up(m, kTileM));
  gpu::launch(matmul_sm90_kernel<BNMajor>, {grid, kThreads, sizeof(Smem), stream}, map_a, map_b, map_c, k);
}

}  // namespace

void matmul_tn_sm90(bf16* c, const bf16* a, const bf16* b, int m, int n, int k, cudaStream_t stream) {
  matmul_sm90<false>(c, a, b, m, n, k, stream);
}
void matmul_nn_sm90(bf16* c, const bf16* a, const bf16* b, int m, int n, int k, cudaStream_t stream) {
  matmul_sm90<true>(c, a, b, m, n, k, stream);
}
