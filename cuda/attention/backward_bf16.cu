#include "attention/backward.cuh"

namespace heddle::cuda {

void attention_backward_bf16(const AttentionBackwardArgs& a, const AttentionBackwardPlan& plan) {
  static constexpr const char* kNames[2][5] = {
      {"attention dk dv bf16 128x32 of 32", "attention dk dv bf16 128x32 of 64", "attention dk dv bf16 64x32 of 96",
       "attention dk dv bf16 128x32 of 128", "attention dk dv bf16 64x32 of 256"},
      {"attention dq bf16 128x32 of 32", "attention dq bf16 128x32 of 64", "attention dq bf16 128x32 of 96",
       "attention dq bf16 128x32 of 128", "attention dq bf16 64x32 of 256"}};
  launch_attention_backward<bf16>("attention delta bf16", kNames, a, plan);
}

}  // namespace heddle::cuda
