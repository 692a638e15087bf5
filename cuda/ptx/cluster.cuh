#pragma once
// Blocks that run at the same time and reach each other's shared memory (PTX ISA, clusters), sm_90. Without one, a block is a cluster of 1.
#include <cuda_runtime.h>

#include <cstdint>

namespace heddle::cuda::ptx {

__device__ inline uint32_t cluster_rank() {
  uint32_t r;
  asm volatile("mov.u32 %0, %%cluster_ctarank;" : "=r"(r));
  return r;
}
__device__ inline uint32_t cluster_size() {
  uint32_t r;
  asm volatile("mov.u32 %0, %%cluster_nctarank;" : "=r"(r));
  return r;
}
// A barrier of all threads of the cluster.
__device__ inline void cluster_sync() {
  asm volatile("barrier.cluster.arrive.release.aligned;\nbarrier.cluster.wait.acquire.aligned;" ::: "memory");
}
// Stores to the same place of block `rank`.
__device__ inline void cluster_store(uint32_t address, uint32_t rank, uint32_t value) {
  asm volatile(
      "{\n.reg .b32 remote;\n"
      "mapa.shared::cluster.u32 remote, %0, %1;\n"
      "st.shared::cluster.u32 [remote], %2;\n}" ::"r"(address),
      "r"(rank), "r"(value)
      : "memory");
}

}  // namespace heddle::cuda::ptx
