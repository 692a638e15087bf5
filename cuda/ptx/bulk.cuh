#pragma once
// Runs of bytes from global to shared memory, moved by the copy engine (PTX ISA, cp.async.bulk), sm_90. One thread does this.
#include <cuda_runtime.h>

#include <cstdint>

namespace heddle::cuda::ptx {

// Both addresses and `bytes` are multiples of 16. The barrier, of this block, counts the bytes.
__device__ inline void load_bytes(uint32_t to, const void* from, uint32_t bytes, uint32_t barrier) {
  asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::"r"(to),
               "l"(__cvta_generic_to_global(from)), "r"(bytes), "r"(barrier)
               : "memory");
}

}  // namespace heddle::cuda::ptx
