#pragma once
// 16 bytes of a thread in one piece. nvcc takes the store of a struct apart where it has unrolled a loop around it, and may not find
// together again what it took apart: seven stores of a vector of eight, each of which touches all of the warp's sectors.
#include <cuda_runtime.h>

#include <cstdint>

#include "ptx/async.cuh"

namespace heddle::cuda::ptx {

__device__ inline void store_global(void* to, const uint4& v) {
  asm volatile("st.global.v4.u32 [%0], {%1,%2,%3,%4};" ::"l"(__cvta_generic_to_global(to)), "r"(v.x), "r"(v.y), "r"(v.z), "r"(v.w)
               : "memory");
}
__device__ inline void store_shared(void* to, const uint4& v) {
  asm volatile("st.shared.v4.u32 [%0], {%1,%2,%3,%4};" ::"r"(shared_address(to)), "r"(v.x), "r"(v.y), "r"(v.z), "r"(v.w) : "memory");
}

}  // namespace heddle::cuda::ptx
