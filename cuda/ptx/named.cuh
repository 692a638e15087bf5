#pragma once
// Barriers of some of a block's warps, by number; 0 is __syncthreads' (PTX ISA, bar).
#include <cuda_runtime.h>

namespace heddle::cuda::ptx {

// `threads`: of both kinds, those that wait here and those that only signal.
__device__ inline void named_wait(int barrier, int threads) { asm volatile("bar.sync %0, %1;" ::"r"(barrier), "r"(threads) : "memory"); }
__device__ inline void named_signal(int barrier, int threads) {
  asm volatile("bar.arrive %0, %1;" ::"r"(barrier), "r"(threads) : "memory");
}

}  // namespace heddle::cuda::ptx
