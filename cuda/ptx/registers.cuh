#pragma once
// Registers that a warpgroup hands back or takes (PTX ISA, setmaxnreg), sm_90a. N: what each of its threads may use from here on.
#include <cuda_runtime.h>

namespace heddle::cuda::ptx {

template <int N>
__device__ inline void give_registers() {
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(N));
}
template <int N>
__device__ inline void take_registers() {
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(N));
}

}  // namespace heddle::cuda::ptx
