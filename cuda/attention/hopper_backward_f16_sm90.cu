#include "attention/hopper_backward.cuh"

namespace heddle::cuda {

void attention_backward_hopper_f16(const AttentionBackwardArgs& a, const AttentionBackwardPlan& plan) {
  launch_attention_backward<f16>(
      {{"attention dk dv f16 128x128x64 wgmma", "attention dk dv f16 128x64x128 wgmma", "attention dk dv f16 128x64x64 wgmma"},
       {"attention dq f16 128x128x64 wgmma", "attention dq f16 128x64x128 wgmma"}},
      a, plan);
}

}  // namespace heddle::cuda
