#include "attention/forward.cuh"

namespace heddle::cuda {

void attention_forward_bf16(const AttentionArgs& a, const AttentionPlan& plan) {
  static constexpr const char* kNames[] = {"attention bf16 128x64 of 32", "attention bf16 128x64 of 64", "attention bf16 128x32 of 96",
                                           "attention bf16 128x32 of 128", "attention bf16 64x32 of 256"};
  launch_attention_forward<bf16>(kNames, a, plan);
}
void attention_combine_bf16(const AttentionArgs& a, const AttentionPlan& plan) {
  launch_attention_combine<bf16>("attention combine bf16", a, plan);
}

}  // namespace heddle::cuda
