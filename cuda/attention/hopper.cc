// Attention on Hopper: which instantiation, and what workspace it needs.
#include "attention/hopper.h"

#include "attention/launch.h"

namespace heddle::cuda {

void attention_hopper(const AttentionArgs& a, const AttentionPlan&) {
  a.s.type == DType::bf16 ? attention_hopper_bf16(a) : attention_hopper_f16(a);
}
void attention_backward_hopper(const AttentionBackwardArgs& a, const AttentionBackwardPlan& plan) {
  a.s.type == DType::bf16 ? attention_backward_hopper_bf16(a, plan) : attention_backward_hopper_f16(a, plan);
}

size_t attention_hopper_workspace(const AttentionShape&, const AttentionPlan&) { return 0; }
// Two f32 of every query: lse and delta.
size_t attention_backward_hopper_workspace(const AttentionShape& s, const AttentionBackwardPlan& plan) {
  return static_cast<size_t>(2 * s.B * s.H * plan.row_count) * sizeof(float);
}

}  // namespace heddle::cuda
