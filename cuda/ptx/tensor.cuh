#pragma once
// Boxes of a tensor between global and shared memory, moved by the copy engine (PTX ISA, cp.async.bulk.tensor), sm_90. The tensor map says
// where the tensor lies and how large a box is; what of a box lies outside is read as zero and not written. One thread does this.
#include <cuda.h>
#include <cuda_runtime.h>

#include <cstdint>

namespace heddle::cuda::ptx {

__device__ inline void prefetch_map(const CUtensorMap* map) { asm volatile("prefetch.tensormap [%0];" ::"l"(map) : "memory"); }

// To this block; the barrier, of this block too, counts the box's bytes, also those outside of the tensor.
__device__ inline void load_box(uint32_t to, const CUtensorMap* map, uint32_t barrier, int x, int y, int z, int w) {
  asm volatile(
      "cp.async.bulk.tensor.4d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4, %5, %6}], [%2];" ::"r"(to),
      "l"(map), "r"(barrier), "r"(x), "r"(y), "r"(z), "r"(w)
      : "memory");
}
// To the same place in every block of the cluster whose bit is set, each of which counts the bytes at its own barrier in that place.
__device__ inline void load_box_multicast(uint32_t to, const CUtensorMap* map, uint32_t barrier, uint16_t blocks, int x, int y, int z,
                                          int w) {
  asm volatile(
      "cp.async.bulk.tensor.4d.shared::cluster.global.tile.mbarrier::complete_tx::bytes.multicast::cluster [%0], [%1, {%4, %5, %6, %7}], "
      "[%2], %3;" ::"r"(to),
      "l"(map), "r"(barrier), "h"(blocks), "r"(x), "r"(y), "r"(z), "r"(w)
      : "memory");
}

__device__ inline void store_box(const CUtensorMap* map, uint32_t from, int x, int y, int z, int w) {
  asm volatile("cp.async.bulk.tensor.4d.global.shared::cta.tile.bulk_group [%0, {%2, %3, %4, %5}], [%1];" ::"l"(map), "r"(from), "r"(x),
               "r"(y), "r"(z), "r"(w)
               : "memory");
}
__device__ inline void commit_stores() { asm volatile("cp.async.bulk.commit_group;" ::: "memory"); }
// All of this thread's groups of stores have read shared memory but the newest N.
template <int N>
__device__ inline void wait_stores_read() {
  asm volatile("cp.async.bulk.wait_group.read %0;" ::"n"(N) : "memory");
}

}  // namespace heddle::cuda::ptx
