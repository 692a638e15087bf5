// Attention: the launcher. What is launched is config.h's decision.
#include "attention/launch.h"
#include "kernels.h"
#include "runtime/launch.cuh"

namespace heddle::cuda {
namespace {

bool empty(const AttentionShape& s) { return s.B == 0 || s.H == 0 || s.Tq == 0; }

}  // namespace

void attention_fused(const AttentionArgs& a, const AttentionPlan& plan) {
  const bool is_bf16 = a.s.type == DType::bf16;
  if (a.pages.table)
    is_bf16 ? attention_pages_bf16(a, plan) : attention_pages_f16(a, plan);
  else
    is_bf16 ? attention_forward_bf16(a, plan) : attention_forward_f16(a, plan);
  if (plan.chunks > 1) is_bf16 ? attention_combine_bf16(a, plan) : attention_combine_f16(a, plan);
}
void attention_backward_fused(const AttentionBackwardArgs& a, const AttentionBackwardPlan& plan) {
  a.s.type == DType::bf16 ? attention_backward_bf16(a, plan) : attention_backward_f16(a, plan);
}

void attention(const AttentionArgs& a) {
  if (empty(a.s)) return;
  const AttentionPlan plan = plan_attention(a, *queue().card);
  if (plan.gathers) {
    char* const memory = static_cast<char*>(a.workspace);
    AttentionArgs side_by_side = gathered(a, memory);
    side_by_side.workspace = memory + gathered_bytes(a);
    attention_gather(a, side_by_side);
    return attention(side_by_side);
  }
  switch (plan.kernel) {
    case AttentionKernel::composed:
      return attention_composed(a);
    case AttentionKernel::fused:
      return attention_fused(a, plan);
    case AttentionKernel::hopper:
      return attention_hopper(a, plan);
  }
}

void attention_backward(const AttentionBackwardArgs& a) {
  if (empty(a.s)) return;
  const AttentionBackwardPlan plan = plan_attention_backward(a, *queue().card);
  switch (plan.kernel) {
    case AttentionKernel::composed:
      return attention_backward_composed(a);
    case AttentionKernel::fused:
      return attention_backward_fused(a, plan);
    case AttentionKernel::hopper:
      return attention_backward_hopper(a, plan);
  }
}

}  // namespace heddle::cuda
