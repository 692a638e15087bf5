#pragma once
// Attention on Hopper by type: the kernels of hopper_forward.cuh and hopper_backward.cuh, in files of their own because they are long to
// compile.
#include "attention/config.h"

namespace heddle::cuda {

void attention_hopper_bf16(const AttentionArgs&);
void attention_hopper_f16(const AttentionArgs&);
void attention_backward_hopper_bf16(const AttentionBackwardArgs&, const AttentionBackwardPlan&);
void attention_backward_hopper_f16(const AttentionBackwardArgs&, const AttentionBackwardPlan&);

}  // namespace heddle::cuda
