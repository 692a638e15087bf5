#pragma once
// The number of the thread, read anew where it stands: what is computed from it takes no register across a loop around it.
#include <cuda_runtime.h>

namespace heddle::cuda::ptx {

__device__ inline int thread() {
  int x;
  asm volatile("mov.u32 %0, %tid.x;" : "=r"(x));
  return x;
}
__device__ inline int lane() { return thread() % 32; }

}  // namespace heddle::cuda::ptx
