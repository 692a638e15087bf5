#pragma once
// Kernels over N arrays of one shape with any strides (nest.h): a thread takes V neighbouring elements of a row where all arrays are
// dense and aligned along it, or broadcast; what is left of a row, or all of it, goes one element per thread.
#include <functional>

#include "common/divider.cuh"
#include "common/nest.h"
#include "common/types.cuh"
#include "runtime/launch.cuh"

namespace heddle::cuda {

constexpr int kThreads = 256;

// The outer dimensions' share of an offset: a number below 2^31 is taken apart, innermost dimension first.
template <int N>
struct Outer {
  int32_t rank;
  Divider size[kMaxRank - 1];
  int64_t stride[N][kMaxRank - 1];

  __device__ void add(uint32_t index, int64_t (&at)[N]) const {
#pragma unroll
    for (int d = 0; d < kMaxRank - 1; ++d) {
      if (d == rank) break;
      const uint32_t rest = size[d].divide(index);
      const int64_t here = index - rest * size[d].divisor;
#pragma unroll
      for (int i = 0; i < N; ++i) at[i] += here * stride[i][d];
      index = rest;
    }
  }
};

// All dimensions of the nest but the row and `without`.
template <int N>
Outer<N> outer_of(const Nest<N>& nest, int without = 0) {
  Outer<N> o{};
  for (int d = 1; d < nest.rank; ++d) {
    if (d == without) continue;
    o.size[o.rank] = Divider(static_cast<uint32_t>(nest.shape[d]));
    for (int i = 0; i < N; ++i) o.stride[i][o.rank] = nest.stride[i][d];
    ++o.rank;
  }
  return o;
}

template <int N>
struct Strided {
  uint32_t items;    // one per thread
  uint32_t vectors;  // of a row
  Divider per_row;   // items
  int64_t row_stride[N];
  Outer<N> outer;
};

template <int N>
struct Place {
  int64_t at[N];  // of the first element
  bool vector;
};

template <int V, int N>
__device__ inline Place<N> place(const Strided<N>& s, uint32_t item) {
  const uint32_t row = s.per_row.divide(item), in_row = item - row * s.per_row.divisor;
  Place<N> p;
  p.vector = in_row < s.vectors;
  const int64_t column = p.vector ? int64_t{in_row} * V : in_row + int64_t{s.vectors} * (V - 1);
#pragma unroll
  for (int i = 0; i < N; ++i) p.at[i] = column * s.row_stride[i];
  s.outer.add(row, p.at);
  return p;
}

// V elements from p on, dense, or one for all of them.
template <class T, int V>
__device__ inline Vector<T, V> fetch(const T* p, int64_t row_stride) {
  if (row_stride == 1) return load_vector<T, V>(p);
  Vector<T, V> v;
  const T x = *p;
#pragma unroll
  for (int j = 0; j < V; ++j) v.x[j] = x;
  return v;
}

// launch(strided, offsets) for each part of the nest. `data` and `size`: pointers and bytes per element of the arrays; V elements a vector.
template <int N>
struct StridedLaunch {
  using Function = std::function<void(const Strided<N>&, const int64_t (&)[N])>;
};
template <int N>
[[gnu::noinline]] void each_strided(int V, const Nest<N>& nest, const void* const (&data)[N], const size_t (&size)[N],
                                    const typename StridedLaunch<N>::Function& launch) {
  nest.each_part(kPart, [&](const Nest<N>& part) {
    bool vectors = part.stride[0][0] == 1;
    for (int i = 0; i < N; ++i) {
      const int64_t step = part.stride[i][0];
      if (step == 0) continue;
      const auto address = reinterpret_cast<uintptr_t>(data[i]) + static_cast<uintptr_t>(part.offset[i]) * size[i];
      vectors = vectors && step == 1 && address % (V * size[i]) == 0;
      for (int d = 1; d < part.rank; ++d) vectors = vectors && part.stride[i][d] % V == 0;
    }
    Strided<N> s{};
    const int64_t row = part.shape[0], rows = part.elements() / row;
    s.vectors = vectors ? static_cast<uint32_t>(row / V) : 0;
    const int64_t per_row = vectors ? row / V + row % V : row;
    s.per_row = Divider(static_cast<uint32_t>(per_row));
    s.items = static_cast<uint32_t>(per_row * rows);
    for (int i = 0; i < N; ++i) s.row_stride[i] = part.stride[i][0];
    s.outer = outer_of(part);
    launch(s, part.offset);
  });
}

}  // namespace heddle::cuda
