#pragma once
// Loads and stores of global memory that order others (PTX ISA, memory consistency model), sm_70 and newer.
#include <cuda_runtime.h>

#include <cstdint>

namespace heddle::cuda::ptx {

// What the thread that stored this value had done or seen before is visible after it.
__device__ inline uint32_t load_acquire(const uint32_t* p) {
  uint32_t x;
  asm volatile("ld.acquire.gpu.global.u32 %0, [%1];" : "=r"(x) : "l"(__cvta_generic_to_global(p)) : "memory");
  return x;
}
__device__ inline void store_release(uint32_t* p, uint32_t x) {
  asm volatile("st.release.gpu.global.u32 [%0], %1;" ::"l"(__cvta_generic_to_global(p)), "r"(x) : "memory");
}

}  // namespace heddle::cuda::ptx
