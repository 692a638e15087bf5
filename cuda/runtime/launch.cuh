#pragma once
// How every kernel is launched: on the queue of this worker, with its shared memory opted in, errors in words.
#include <cuda_runtime.h>

#include <cstdint>

#include "core/error.h"
#include "core/launch_log.h"
#include "runtime/error.h"
#include "runtime/queue.h"

namespace heddle::cuda {

// kernel<<<grid, block, shared>>>(args...), in clusters of so many blocks along x (1: none); `name` is for errors and the launch log.
template <class... P, class... A>
void launch_clusters(const char* name, void (*kernel)(P...), int cluster, dim3 grid, dim3 block, size_t shared, const A&... args) {
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
  cudaLaunchAttribute clusters{};
  clusters.id = cudaLaunchAttributeClusterDimension;
  clusters.val.clusterDim.x = static_cast<unsigned>(cluster);
  clusters.val.clusterDim.y = clusters.val.clusterDim.z = 1;
  config.attrs = &clusters;
  config.numAttrs = cluster > 1;
  check(cudaLaunchKernelEx(&config, kernel, static_cast<P>(args)...), name);
  log_launch(name, grid.x, grid.y, grid.z, block.x * block.y * block.z, shared);
}

template <class... P, class... A>
void launch(const char* name, void (*kernel)(P...), dim3 grid, dim3 block, size_t shared, const A&... args) {
  launch_clusters(name, kernel, 1, grid, block, shared, args...);
}

// Blocks of `threads` for n items, at most `most` per multiprocessor where the kernel strides over the rest.
inline unsigned blocks_for(int64_t n, int64_t threads, int64_t most_per_multiprocessor = 1 << 20) {
  const int64_t wanted = (n + threads - 1) / threads, most = most_per_multiprocessor * queue().card->multiprocessors;
  const int64_t blocks = wanted < most ? wanted : most;
  return static_cast<unsigned>(blocks < 1 ? 1 : blocks > 0x7fffffff ? 0x7fffffff : blocks);
}

}  // namespace heddle::cuda
