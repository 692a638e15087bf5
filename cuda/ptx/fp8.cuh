#pragma once
// Conversion to fp8 (PTX ISA, cvt: .rn.satfinite.e4m3x2.f32, from sm_89 on).
#include <cuda_runtime.h>

#include "core/fp8.h"

namespace heddle::cuda::ptx {

// The codes of two numbers, the first one's in the low byte.
template <FP8 Format>
__device__ inline uint16_t fp8_pair(float first, float second) {
#if __CUDA_ARCH__ >= 890
  uint16_t pair;
  if constexpr (Format == FP8::e4m3)
    asm("cvt.rn.satfinite.e4m3x2.f32 %0, %1, %2;" : "=h"(pair) : "f"(second), "f"(first));
  else
    asm("cvt.rn.satfinite.e5m2x2.f32 %0, %1, %2;" : "=h"(pair) : "f"(second), "f"(first));
  return pair;
#else
  return static_cast<uint16_t>(fp8_code(Format, first) | fp8_code(Format, second) << 8);
#endif
}

}  // namespace heddle::cuda::ptx
