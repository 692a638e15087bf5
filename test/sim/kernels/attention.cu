// attention.cu - FlashAttention-2 style causal forward, head dimension 64, bf16 (sm_80).
// A block owns 64 queries (4 warps of 16); keys and values stream through double buffers.
#include "gpu/gpu.cuh"
#include "kernels/kernels.h"

namespace {

constexpr int kDim = 64, kRows = 64, kKeys = 64;
constexpr int kThreads = 128;
constexpr int kPitch = kDim + 8;  // 144-byte rows: conflict-free for ldmatrix
constexpr float kLog2e = 1.4426950408889634f;

using Tile = bf16[64][kPitch];

__device__ __forceinline__ void load_tile(Tile& dst, const bf16* src, int row0, int rows) {
#pragma unroll
  for (int i = 0; i < 64 * (kDim / 8) / kThreads; ++i) {
    const int chunk = i * kThreads + threadIdx.x;
    const int r = chunk / (kDim / 8), c = chunk % (kDim / 8) * 8;
    const bool inside = row0 + r < rows;
    ptx::cp_async_16(ptx::smem_addr(&dst[r][c]), inside ? src + size_t(row0 + r) * kDim + c : src, inside ? 16 : 0);
  }
}

__global__ void __launch_bounds__(kThreads)
    attention_forward_kernel(bf16* __restrict__ out, float* __restrict__ lse, const bf16* __restrict__ q, const bf16* __restrict__ k,
                             const bf16* __restrict__ v, int t, float scale) {
  __shared__ Tile tile_q;
  __shared__ Tile tile_k[2];
  __shared__ Tile tile_v[2];
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const int g = lane / 4, c = lane % 4 * 2;  // this thread's fragment row (and +8) and column
  const int q0 = blockIdx.x * kRows;
  const size_t head = size_t(blockIdx.y) * t * kDim;
  const int blocks = gpu::div_up(min(q0 + kRows, t), kKeys);  // causal: no key after the last query
  const float scale_log2 = scale * kLog2e;

  load_tile(tile_q, q + head, q0, t);
  load_tile(tile_k[0], k + head, 0, t);
  load_tile(tile_v[0], v + head, 0, t);
  ptx::cp_async_commit();

  float o[8][4] = {};
  float row_max[2] = {-INFINITY, -INFINITY}, row_sum[2] = {0.0f, 0.0f};

  for (int block = 0; block < blocks; ++block) {
    const int b = block % 2, key0 = block * kKeys;
    if (block + 1 < blocks) {
      load_tile(tile_k[b ^ 1], k + head, key0 + kKeys, t);
      load_tile(tile_v[b ^ 1], v + head, key0 + kKeys, t);
    }
    ptx::cp_async_commit();
    ptx::cp_async_wait<1>();
    __syncthreads();

    // s = q k^T
    float s[8][4] = {};
#pragma unroll
    for (int d = 0; d < kDim; d += 16) {
      uint32_t fq[4];
      ptx::ldmatrix_x4(fq, ptx::smem_addr(&tile_q[warp * 16 + lane % 16][d + lane / 16 * 8]));
#pragma unroll
      for (int j = 0; j < 8; j += 2) {
        uint32_t r[4];
        ptx::ldmatrix_x4(r, ptx::smem_addr(&tile_k[b][j * 8 + lane / 16 * 8 + lane % 8][d + lane / 8 % 2 * 8]));
        const uint32_t lo[2] = {r[0], r[1]}, hi[2] = {r[2], r[3]};
        ptx::mma_m16n8k16_bf16(s[j], fq, lo);
        ptx::mma_m16n8k16_bf16(s[j + 1], fq, hi);
      }
    }

    // mask, online softmax
    if (key0 + kKeys > q0) {
#pragma unroll
      for (int j = 0; j < 8; ++j)
#pragma unroll
        for (int e = 0; e < 4; ++e) {
          const int query = q0 + warp * 16 + g + e / 2 * 8, key = key0 + j * 8 + c + e % 2;
          if (key > query) s[j][e] = -INFINITY;
        }
    }
#pragma unroll
    for (int h = 0; h < 2; ++h) {  // the thread's two rows
      float m = row_max[h];
#pragma unroll
      for (int j = 0; j < 8; ++j) m = fmaxf(m, fmaxf(s[j][2 * h], s[j][2 * h + 1]));
      m = fmaxf(m, __shfl_xor_sync(0xffffffffu, m, 1));
      m = fmaxf(m, __shfl_xor_sync(0xffffffffu, m, 2));
      const float rescale = exp2f((row_max[h] - m) * scale_log2);
      row_max[h] = m;
      row_sum[h] *= rescale;
#pragma unroll
      for (int j = 0; j < 8; ++j) {
        o[j][2 * h] *= rescale;
        o[j][2 * h + 1] *= rescale;
#pragma unroll
        for (int e = 2 * h; e < 2 * h + 2; ++e) {
          s[j][e] = exp2f((s[j][e] - m) * scale_log2);
          row_sum[h] += s[j][e];
        }
      }
    }

    // o += p v
#pragma unroll
    for (int kk = 0; kk < kKeys; kk += 16) {
      const int j = kk / 8;
      const uint32_t fp[4] = {gpu::pack_bf16(s[j][0], s[j][1]), gpu::pack_bf16(s[j][2], s[j][3]), gpu::pack_bf16(s[j + 1][0], s[j + 1][1]),
                              gpu::pack_bf16(s[j + 1][2], s[j + 1][3])};
#pragma unroll
      for (int d = 0; d < 8; d += 2) {
        uint32_t r[4];
        ptx::ldmatrix_x4_trans(r, ptx::smem_addr(&tile_v[b][kk + lane % 16][d * 8 + lane / 16 * 8]));
        const uint32_t lo[2] = {r[0], r[1]}, hi[2] = {r[2], r[3]};
        ptx::mma_m16n8k16_bf16(o[d], fp, lo);
        ptx::mma_m16n8k16_bf16(o[d + 1], fp, hi);
      }
    }
    __syncthreads();
  }
  ptx::cp_async_wait<0>();

#pragma unroll
  for (int h = 0; h < 2; ++h) {
    float sum = row_sum[h];
    sum += __shfl_xor_sync(0xffffffffu, sum, 1);
    sum += __shfl_xor_sync(0xffffffffu, sum, 2);
    const int query = q0 + warp * 16 + g + h * 8;
    if (query < t) {
#pragma unroll
      for (int d = 0; d < 8; ++d)
        *reinterpret_cast<uint32_t*>(out + head + size_t(query) * kDim + d * 8 + c) =
            gpu::pack_bf16(o[d][2 * h] / sum, o[d][2 * h + 1] / sum);
      if (c == 0) lse[size_t(blockIdx.y) * t + query] = row_max[h] * scale + logf(sum);
    }
  }
}

}  // namespace

void attention_forward(bf16* out, float* lse, const bf16* q, const bf16* k, const bf16* v, int heads, int t, float scale,
                       cudaStream_t stream) {
  const dim3 grid(gpu::div_up(t, kRows), heads);
  gpu::launch(attention_forward_kernel, {grid, kThreads, 0, stream}, out, lse, q, k, v, t, scale);
}
