#include "matmul/hopper_launch.cuh"

namespace heddle::cuda {

void launch_bf16_hopper(const MatmulPlan& plan, const MatmulProblem& p, const MatmulArgs& g) {
  launch_hopper<bf16>(
      {{"matmul bf16 128x256x64 wgmma", "matmul bf16 128x128x64 wgmma", "matmul bf16 128x64x64 wgmma", "matmul bf16 64x128x64 wgmma"},
       {"matmul bf16 128x256x64 wgmma stream-K", "matmul bf16 128x128x64 wgmma stream-K", "matmul bf16 128x64x64 wgmma stream-K",
        "matmul bf16 64x128x64 wgmma stream-K"}},
      std::make_index_sequence<kHopperTileCount>(), plan, p, g);
}

}  // namespace heddle::cuda
