#pragma once
// Sums and maxima over a warp and over a block, in an order that is fixed: the same bits in every run.
#include <cuda_runtime.h>

namespace heddle::cuda {

struct Add {
  __device__ static float op(float a, float b) { return a + b; }
  static constexpr float identity = 0;
};
struct Max {
  __device__ static float op(float a, float b) { return fmaxf(a, b); }
  static constexpr float identity = -__builtin_huge_valf();
};

// Every lane gets the result. All 32 lanes take part.
template <class Op>
__device__ inline float warp_reduce(float x) {
  for (int offset = 16; offset > 0; offset /= 2) x = Op::op(x, __shfl_xor_sync(0xffffffffu, x, offset));
  return x;
}

// Every thread gets the result. `scratch`: 32 floats of shared memory; blockDim.x is a multiple of 32, all threads take part.
template <class Op>
__device__ inline float block_reduce(float x, float* scratch) {
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, warps = blockDim.x / 32;
  x = warp_reduce<Op>(x);
  __syncthreads();  // whoever read the last result is done
  if (lane == 0) scratch[warp] = x;
  __syncthreads();
  return warp_reduce<Op>(lane < warps ? scratch[lane] : Op::identity);
}

}  // namespace heddle::cuda
