// gpu.cuh - launch helper and small device helpers of the example kernels.  Plain CUDA.
#pragma once

#include <cuda.h>
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include <cstdint>
#include <cstdio>
#include <stdexcept>
#include <string>

// True in code that may use Hopper-only instructions (wgmma, setmaxnreg).
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
#define GPU_SM90A 1
#else
#define GPU_SM90A 0
#endif

namespace gpu {

using bf16 = __nv_bfloat16;
using bf162 = __nv_bfloat162;

inline void check(cudaError_t e, const char* what) {
  if (e != cudaSuccess) throw std::runtime_error(std::string(what) + ": " + cudaGetErrorString(e));
}

struct LaunchConfig {
  dim3 grid, block;
  size_t smem = 0;
  cudaStream_t stream = nullptr;
  dim3 cluster = {1, 1, 1};
};

template <class... Params, class... Args>
void launch(void (*kernel)(Params...), const LaunchConfig& c, Args&&... args) {
  if (c.smem > 48 * 1024)
    check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, int(c.smem)), "cudaFuncSetAttribute");
  cudaLaunchAttribute cluster{};
  cluster.id = cudaLaunchAttributeClusterDimension;
  cluster.val.clusterDim.x = c.cluster.x;
  cluster.val.clusterDim.y = c.cluster.y;
  cluster.val.clusterDim.z = c.cluster.z;
  cudaLaunchConfig_t config{};
  config.gridDim = c.grid;
  config.blockDim = c.block;
  config.dynamicSmemBytes = c.smem;
  config.stream = c.stream;
  config.attrs = &cluster;
  config.numAttrs = c.cluster.x * c.cluster.y * c.cluster.z > 1 ? 1 : 0;
  check(cudaLaunchKernelEx(&config, kernel, Params(std::forward<Args>(args))...), "cudaLaunchKernelEx");
}

}  // namespace gpu

#include "gpu/ptx.cuh"

namespace gpu {

__host__ __device__ __forceinline__ int div_up(int a, int b) { return (a + b - 1) / b; }

__device__ __forceinline__ float warp_sum(float v) {
#pragma unroll
  for (int d = 16; d > 0; d >>= 1) v += __shfl_xor_sync(0xffffffffu, v, d);
  return v;
}

__device__ __forceinline__ uint32_t pack_bf16(float lo, float hi) {
  bf162 v = __floats2bfloat162_rn(lo, hi);
  return *reinterpret_cast<uint32_t*>(&v);
}

// Shared-memory matrix descriptor for wgmma, 128-byte swizzle.
__device__ __forceinline__ uint64_t wgmma_desc_sw128(uint32_t smem_addr, uint32_t leading_bytes, uint32_t stride_bytes) {
  return uint64_t((smem_addr & 0x3ffff) >> 4) | uint64_t(leading_bytes >> 4) << 16 | uint64_t(stride_bytes >> 4) << 32 | uint64_t(1) << 62;
}

}  // namespace gpu
