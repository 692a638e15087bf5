#include "attention/forward.cuh"

namespace heddle::cuda {

void attention_forward_f16(const AttentionArgs& a, const AttentionPlan& plan) {
  static constexpr const char* kNames[] = {"attention f16 128x64 of 32", "attention f16 128x64 of 64", "attention f16 128x32 of 96",
                                           "attention f16 128x32 of 128", "attention f16 64x32 of 256"};
  launch_attention_forward<f16>(kNames, a, plan);
}
void attention_combine_f16(const AttentionArgs& a, const AttentionPlan& plan) {
  launch_attention_combine<f16>("attention combine f16", a, plan);
}

}  // namespace heddle::cuda
