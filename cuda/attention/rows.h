#pragma once
// Attention composed of matmuls and kernels over rows of scores. A part is what fits into the workspace at once: some batches, key
// heads and query heads of their groups; its scores are [batch][key head][head of the group][Tq][ld], a row per query.
#include "ops/backend.h"

namespace heddle::cuda {

struct AttentionPart {
  int64_t b, batches, kv, kv_heads, g, heads;  // first and count of each
  int64_t rows(const AttentionShape& s) const { return batches * kv_heads * heads * s.Tq; }
};

struct RowStrides {
  int64_t x[3];  // of B, T, H
};

void launch_attention_softmax(const AttentionShape&, const AttentionPart&, const float* scores, void* p, float* lse, int64_t ld);
void launch_attention_gradient(const AttentionBackwardArgs&, const AttentionPart&, const float* scores, const float* dp, void* p, void* ds,
                               int64_t ld);
void launch_attention_add(DType type, const float* x, void* y, const RowStrides& strides, int64_t batches, int64_t heads, int64_t Tk,
                          int64_t D, bool accumulate);

}  // namespace heddle::cuda
