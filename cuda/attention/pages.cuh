#pragma once
// Keys and values in pages (AttentionPages), for kernels.
#include "attention/fused.h"
#include "tile/pages.cuh"

namespace heddle::cuda {

// An operand (pages, positions, H, D) of which each batch has the rows that its table names.
template <class T>
struct PagedHeads {
  const HeadsOf<T>& heads;
  const PageTable& pages;
  __device__ PagedRows<T> head(int b, int h, int rows, int D) const {
    return {heads.data + h * heads.stride[2],
            pages.table + b * pages.columns,
            heads.stride[0],
            heads.stride[1],
            pages.shift,
            pages.count,
            rows,
            D};
  }
};

inline PageTable page_table(const AttentionPages& pages, Fault* fault) {
  int shift = 0;
  while (int64_t{1} << shift < pages.size) ++shift;
  return {pages.table, pages.columns, shift, static_cast<int>(pages.count), fault};
}

}  // namespace heddle::cuda
