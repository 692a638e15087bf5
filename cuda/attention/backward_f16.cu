#include "attention/backward.cuh"

namespace heddle::cuda {

void attention_backward_f16(const AttentionBackwardArgs& a, const AttentionBackwardPlan& plan) {
  static constexpr const char* kNames[2][5] = {
      {"attention dk dv f16 128x32 of 32", "attention dk dv f16 128x32 of 64", "attention dk dv f16 64x32 of 96",
       "attention dk dv f16 128x32 of 128", "attention dk dv f16 64x32 of 256"},
      {"attention dq f16 128x32 of 32", "attention dq f16 128x32 of 64", "attention dq f16 128x32 of 96", "attention dq f16 128x32 of 128",
       "attention dq f16 64x32 of 256"}};
  launch_attention_backward<f16>("attention delta f16", kNames, a, plan);
}

}  // namespace heddle::cuda
