#pragma once
// Kernels over dense arrays: a thread takes V neighbouring elements where all arrays are aligned, one otherwise and at the end.
#include "common/types.cuh"
#include "runtime/launch.cuh"

namespace heddle::cuda {

struct Dense {
  int64_t n, vectors, items;  // elements; whole vectors at the front; threads

  Dense(int64_t count, int width, bool aligned)
      : n(count), vectors(aligned ? count / width : 0), items(vectors + (count - vectors * width)) {}
};

struct DensePlace {
  int64_t at;
  bool inside, vector;
};

template <int V, int kBlock>
__device__ inline DensePlace dense_place(const Dense& d) {
  const int64_t item = int64_t{blockIdx.x} * kBlock + threadIdx.x;
  const bool vector = item < d.vectors;
  return {vector ? item * V : item + d.vectors * (V - 1), item < d.items, vector};
}

}  // namespace heddle::cuda
