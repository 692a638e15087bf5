#pragma once
// How every kernel is launched: on the queue of this worker, with its shared memory opted in, errors in words.
#include <cuda_runtime.h>

#include <cstdint>

#include "core/error.h"
#include "core/launch_log.h"
#include "runtime/error.h"
#include "runtime/queue.h"

namespace heddle::cuda {

// kernel<<<grid, block, shared>>>(args...); `name` is for errors and the launch log.
template <class... P, class... A>
void launch(const char* name, void (*kernel)(P...), dim3 grid, dim3 block, size_t shared, const A&... args) {
  Queue& q = queue();
  if (!q.lost.empty()) throw OpError(q.lost, ErrorCode::device);
  if (shared > 48 * 1024)
    check(
        cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel), cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(shared)),
        name);
  cudaLaunchConfig_t config{};
  config.gridDim = grid;
  config.blockDim = block;
  config.dynamicSmemBytes = shared;
  config.stream = q.stream;
  check(cudaLaunchKernelEx(&config, kernel, static_cast<P>(args)...), name);
  log_launch(name, grid.x, grid.y, grid.z, block.x * block.y * block.z, shared);
}

// Blocks of `threads` for n items, at most `most` per multiprocessor where the kernel strides over the rest.
inline unsigned blocks_for(int64_t n, int64_t threads, int64_t most_per_multiprocessor = 1 << 20) {
  const int64_t wanted = (n + threads - 1) / threads, most = most_per_multiprocessor * queue().card->multiprocessors;
  const int64_t blocks = wanted < most ? wanted : most;
  return static_cast<unsigned>(blocks < 1 ? 1 : blocks > 0x7fffffff ? 0x7fffffff : blocks);
}

}  // namespace heddle::cuda
