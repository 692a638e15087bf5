#include "attention/hopper_forward.cuh"

namespace heddle::cuda {

void attention_hopper_bf16(const AttentionArgs& a) {
  launch_attention_forward<bf16>({"attention bf16 128x128x64 wgmma", "attention bf16 128x128x128 wgmma"}, a);
}

}  // namespace heddle::cuda
