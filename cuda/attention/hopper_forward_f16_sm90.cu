#include "attention/hopper_forward.cuh"

namespace heddle::cuda {

void attention_hopper_f16(const AttentionArgs& a) {
  launch_attention_forward<f16>({"attention f16 128x128x64 wgmma", "attention f16 128x128x128 wgmma"}, a);
}

}  // namespace heddle::cuda
