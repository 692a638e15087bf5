#pragma once
// Descriptions of tensors for Hopper's copy engine (ptx/tensor.cuh). The driver makes them; this worker keeps the last ones, because a
// training step asks for the same ones again and again.
#include <cuda.h>

#include <cstdint>

#include "core/dtype.h"

namespace heddle::cuda {

// A box of a tensor of rows: `box_cols` by `box_rows` elements, which lie in shared memory as rows of at most 128 bytes, swizzled.
struct TensorBox {
  DType type;
  const void* base;  // at a multiple of 16 bytes, like all strides
  int64_t cols, rows, row_stride;
  int64_t batch[2], batch_stride[2];  // of equal matrices; a stride of 0 is one matrix, whose place is always 0
  int box_cols, box_rows;
};

// Dimensions: cols, rows, batch[1], batch[0]. What the driver makes of it; throws OpError where it refuses.
CUtensorMap tensor_map(const TensorBox& box);

}  // namespace heddle::cuda
