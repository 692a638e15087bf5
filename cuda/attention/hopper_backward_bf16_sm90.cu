#include "attention/hopper_backward.cuh"

namespace heddle::cuda {

void attention_backward_hopper_bf16(const AttentionBackwardArgs& a, const AttentionBackwardPlan& plan) {
  launch_attention_backward<bf16>(
      {{"attention dk dv bf16 128x128x64 wgmma", "attention dk dv bf16 128x64x128 wgmma", "attention dk dv bf16 128x64x64 wgmma"},
       {"attention dq bf16 128x128x64 wgmma", "attention dq bf16 128x64x128 wgmma"}},
      a, plan);
}

}  // namespace heddle::cuda
