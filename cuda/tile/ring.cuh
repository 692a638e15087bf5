#pragma once
// A ring of stages in shared memory as its producer or a consumer walks through it: which one is next, and the parity of its phase.
#include <cuda_runtime.h>

#include <cstdint>

namespace heddle::cuda {

template <int Stages>
struct Ring {
  int stage = 0;
  uint32_t parity = 0;
  __device__ void next() {
    if (++stage == Stages) {
      stage = 0;
      parity ^= 1;
    }
  }
};

}  // namespace heddle::cuda
