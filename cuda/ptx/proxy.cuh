#pragma once
// wgmma and the copy engine see shared memory through another proxy than loads and stores (PTX ISA, proxies), sm_90.
#include <cuda_runtime.h>

namespace heddle::cuda::ptx {

// What this thread has written to shared memory by ordinary stores is there for them: by every writer, then a barrier, then their read.
__device__ inline void fence_async_proxy() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }

}  // namespace heddle::cuda::ptx
