#include "runtime/occupancy.h"

#include <cuda_runtime_api.h>

#include <algorithm>
#include <map>
#include <tuple>

#include "runtime/error.h"

namespace heddle::cuda {

int resident_clusters(const void* kernel, int cluster, int threads, size_t shared) {
  // A worker has one card, and few kernels ask.
  thread_local std::map<std::tuple<const void*, int, int, size_t>, int> known;
  int& n = known[{kernel, cluster, threads, shared}];
  if (n > 0) return n;
  const char* what = "cudaOccupancyMaxActiveClusters";
  check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(shared)), what);
  cudaLaunchAttribute clusters{};
  clusters.id = cudaLaunchAttributeClusterDimension;
  clusters.val.clusterDim.x = static_cast<unsigned>(cluster);
  clusters.val.clusterDim.y = clusters.val.clusterDim.z = 1;
  cudaLaunchConfig_t config{};
  config.gridDim = dim3(static_cast<unsigned>(cluster));
  config.blockDim = dim3(static_cast<unsigned>(threads));
  config.dynamicSmemBytes = shared;
  config.attrs = &clusters;
  config.numAttrs = 1;
  int found = 0;
  check(cudaOccupancyMaxActiveClusters(&found, kernel, &config), what);
  return n = std::max(1, found);
}

}  // namespace heddle::cuda
