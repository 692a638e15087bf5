#pragma once
// The ways to compute attention. config.h chooses; each lies in a file of its own.
#include "attention/config.h"

namespace heddle::cuda {

// Copies keys and values out of a's pages to where `to` has them (gathered).
void attention_gather(const AttentionArgs& a, const AttentionArgs& to);

void attention_composed(const AttentionArgs&);
void attention_backward_composed(const AttentionBackwardArgs&);

void attention_fused(const AttentionArgs&, const AttentionPlan&);
void attention_backward_fused(const AttentionBackwardArgs&, const AttentionBackwardPlan&);

// The same by type: they are long to compile.
void attention_forward_bf16(const AttentionArgs&, const AttentionPlan&);
void attention_forward_f16(const AttentionArgs&, const AttentionPlan&);
void attention_pages_bf16(const AttentionArgs&, const AttentionPlan&);
void attention_pages_f16(const AttentionArgs&, const AttentionPlan&);
void attention_combine_bf16(const AttentionArgs&, const AttentionPlan&);
void attention_combine_f16(const AttentionArgs&, const AttentionPlan&);
void attention_backward_bf16(const AttentionBackwardArgs&, const AttentionBackwardPlan&);
void attention_backward_f16(const AttentionBackwardArgs&, const AttentionBackwardPlan&);

void attention_hopper(const AttentionArgs&, const AttentionPlan&);
void attention_backward_hopper(const AttentionBackwardArgs&, const AttentionBackwardPlan&);

}  // namespace heddle::cuda
