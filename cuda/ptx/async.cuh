#pragma once
// Asynchronous copies from global to shared memory (PTX ISA, cp.async), sm_80 and newer.
#include <cuda_runtime.h>

#include <cstdint>

namespace heddle::cuda::ptx {

// Whether they exist on the architecture that is compiled.
constexpr bool has_async_copies() {
#if __CUDA_ARCH__ >= 800
  return true;
#else
  return false;
#endif
}

__device__ inline uint32_t shared_address(const void* p) { return static_cast<uint32_t>(__cvta_generic_to_shared(p)); }

// 16 bytes to shared memory: the first `bytes` (0 to 16) from `from`, the rest zero. Past L1: every block reads its own tiles once.
__device__ inline void copy_async(uint32_t to, const void* from, int bytes) {
#if __CUDA_ARCH__ >= 800
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(__cvta_generic_to_global(from)), "r"(bytes) : "memory");
#endif
}
__device__ inline void commit_copies() {
#if __CUDA_ARCH__ >= 800
  asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}
// All of this thread's groups have landed but the newest N.
template <int N>
__device__ inline void wait_copies() {
#if __CUDA_ARCH__ >= 800
  asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory");
#endif
}

}  // namespace heddle::cuda::ptx
