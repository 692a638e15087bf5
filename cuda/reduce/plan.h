#pragma once
// How a reduction is cut: which dimensions an index runs over, along rows or across columns, in how many chunks. All of it follows from
// shapes and strides alone, so that the bits of a sum do too. Host only but for Walk::offset.
#include <cstdint>

#include "common/divider.cuh"
#include "ops/backend.h"

namespace heddle::cuda {

// An index over several dimensions and its offset; innermost dimension first, neighbours that lie one in the other merged.
struct Walk {
  int32_t rank = 0;
  Divider divider[kMaxRank];
  int64_t size[kMaxRank], stride[kMaxRank];

  int64_t count() const {
    int64_t n = 1;
    for (int d = 0; d < rank; ++d) n *= size[d];
    return n;
  }

#ifdef __CUDACC__
  __device__ int64_t offset(int64_t index) const {
    int64_t at = 0;
#pragma unroll
    for (int d = 0; d < kMaxRank; ++d) {
      if (d + 1 >= rank) {  // what is left of the index belongs to the last dimension
        at += index * stride[d];
        break;
      }
      const int64_t rest = index >> 31 ? index / size[d] : divider[d].divide(static_cast<uint32_t>(index));
      at += (index - rest * size[d]) * stride[d];
      index = rest;
    }
    return at;
  }
#endif
};

struct ReducePlan {
  Walk kept, reduced;
  int64_t outputs, count;  // `count` elements make one output
  int64_t chunk, chunks;   // elements of a chunk; their number
  bool columns;            // neighbouring outputs lie side by side in x
  bool mean, arg, accumulate;
  void* out;
  float* values;     // [chunks][outputs] when there are several chunks
  int32_t* indices;  // the same, for argmax and argmin
};

ReducePlan plan_reduce(const ReduceArgs& a);
ReduceArgs as_reduce(const ColumnSumArgs& a);  // the rows of x as the dimension that goes
size_t workspace_of(const ReducePlan& p);

}  // namespace heddle::cuda
