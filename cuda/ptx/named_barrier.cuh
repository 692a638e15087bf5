#pragma once
// Barriers of some of a block's threads (PTX ISA, bar). Number 0 is __syncthreads'.
#include <cuda_runtime.h>

namespace heddle::cuda::ptx {

// threads: how many take part, whole warps.
__device__ inline void named_barrier(int number, int threads) { asm volatile("bar.sync %0, %1;" ::"r"(number), "r"(threads) : "memory"); }

}  // namespace heddle::cuda::ptx
