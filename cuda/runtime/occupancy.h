#pragma once
#include <cstddef>

namespace heddle::cuda {

// Clusters of so many blocks that this worker's card runs at the same time, at least 1: as many as a persistent kernel is launched with.
int resident_clusters(const void* kernel, int cluster, int threads, size_t shared);

}  // namespace heddle::cuda
