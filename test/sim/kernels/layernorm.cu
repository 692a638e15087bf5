// layernorm.cu - one block per row; 16-byte loads; statistics by warp shuffles.
#include "gpu/gpu.cuh"
#include "kernels/kernels.h"

namespace {

constexpr int kThreads = 128;
constexpr int kWarps = kThreads / 32;

__device__ float block_sum(float v) {
  __shared__ float partial[kWarps];
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  v = gpu::warp_sum(v);
  __syncthreads();  // the previous call may still be reading `partial`
  if (lane == 0) partial[warp] = v;
  __syncthreads();
  v = lane < kWarps ? partial[lane] : 0.0f;
  return gpu::warp_sum(v);
}

__global__ void __launch_bounds__(kThreads)
    layernorm_kernel(bf16* __restrict__ y, float* __restrict__ mean, float* __restrict__ rstd, const bf16* __restrict__ x,
                     const bf16* __restrict__ weight, const bf16* __restrict__ bias, int cols) {
  const size_t row = blockIdx.x;
  const uint4* x_row = reinterpret_cast<const uint4*>(x + row * cols);
  uint4* y_row = reinterpret_cast<uint4*>(y + row * cols);
  const int chunks = cols / 8;

  float sum = 0.0f;
  for (int i = threadIdx.x; i < chunks; i += kThreads) {
    const uint4 v = x_row[i];
    const bf16* e = reinterpret_cast<const bf16*>(&v);
#pragma unroll
    for (int j = 0; j < 8; ++j) sum += __bfloat162float(e[j]);
  }
  const float m = block_sum(sum) / cols;

  float sum_sq = 0.0f;
  for (int i = threadIdx.x; i < chunks; i += kThreads) {
    const uint4 v = x_row[i];
    const bf16* e = reinterpret_cast<const bf16*>(&v);
#pragma unroll
    for (int j = 0; j < 8; ++j) {
      const float d = __bfloat162float(e[j]) - m;
      sum_sq += d * d;
    }
  }
  const float r = rsqrtf(block_sum(sum_sq) / cols + 1e-5f);

  for (int i = threadIdx.x; i < chunks; i += kThreads) {
    const uint4 v = x_row[i], w = reinterpret_cast<const uint4*>(weight)[i], b = reinterpret_cast<const uint4*>(bias)[i];
    const bf16 *ve = reinterpret_cast<const bf16*>(&v), *we = reinterpret_cast<const bf16*>(&w), *be = reinterpret_cast<const bf16*>(&b);
    uint4 out;
    bf16* oe = reinterpret_cast<bf16*>(&out);
#pragma unroll
    for (int j = 0; j < 8; ++j)
      oe[j] = __float2bfloat16((__bfloat162float(ve[j]) - m) * r * __bfloat162float(we[j]) + __bfloat162float(be[j]));
    y_row[i] = out;
  }
  if (threadIdx.x == 0) {
    mean[row] = m;
    rstd[row] = r;
  }
}

}  // namespace

void layernorm_forward(bf16* y, float* mean, float* rstd, const bf16* x, const bf16* weight, const bf16* bias, int rows, int cols,
                       cudaStream_t stream) {
  gpu::launch(layernorm_kernel, {unsigned(rows), kThreads, 0, stream}, y, mean, rstd, x, weight, bias, cols);
}
