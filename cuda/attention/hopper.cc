// Attention on Hopper: which instantiation.
#include "attention/hopper.h"

#include "attention/launch.h"

namespace heddle::cuda {

void attention_hopper(const AttentionArgs& a, const AttentionPlan&) {
  a.s.type == DType::bf16 ? attention_hopper_bf16(a) : attention_hopper_f16(a);
}
void attention_backward_hopper(const AttentionBackwardArgs& a, const AttentionBackwardPlan& plan) {
  a.s.type == DType::bf16 ? attention_backward_hopper_bf16(a, plan) : attention_backward_hopper_f16(a, plan);
}

}  // namespace heddle::cuda
