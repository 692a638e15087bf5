#pragma once
// Keys and values in pages (AttentionPages), for kernels.
#include "ops/backend.h"
#include "tile/pages.cuh"

namespace heddle::cuda {

// An operand (pages, positions, H, D), D dense, of which each batch has the rows that its table names.
template <class T>
struct PagedHeads {
  T* data;
  int64_t stride[3];
  const int32_t* table;
  int64_t columns;
  int shift, count;
  Fault* fault;
  __device__ PagedRows<T> head(int b, int h, int rows, int D) const {
    return {data + h * stride[2], table, b * columns, stride[0], stride[1], shift, count, rows, D, fault};
  }
};
template <class T, class P>
PagedHeads<T> paged_heads(P* data, const int64_t (&stride)[3], const AttentionPages& pages, Fault* fault) {
  int shift = 0;
  while (int64_t{1} << shift < pages.size) ++shift;
  return {
      static_cast<T*>(data), {stride[0], stride[1], stride[2]}, pages.table, pages.columns, shift, static_cast<int>(pages.count), fault};
}

}  // namespace heddle::cuda
