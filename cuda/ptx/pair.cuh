#pragma once
// Two f32 rounded to 16 bits, to nearest even, in one register, the first in the lower half (PTX ISA, cvt), sm_90.
#include <cuda_runtime.h>

#include <cstdint>

#include "common/types.cuh"

namespace heddle::cuda::ptx {

template <class T>
__device__ inline uint32_t round_pair(float low, float high) {
  uint32_t r;
  if constexpr (__is_same(T, bf16))
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(r) : "f"(high), "f"(low));
  else
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(r) : "f"(high), "f"(low));
  return r;
}

}  // namespace heddle::cuda::ptx
