#include "matmul/hopper_launch.cuh"

namespace heddle::cuda {

void launch_f16_hopper(const MatmulPlan& plan, const MatmulProblem& p, const MatmulArgs& g) {
  launch_hopper<f16>(
      {{"matmul f16 128x256x64 wgmma", "matmul f16 128x128x64 wgmma", "matmul f16 128x64x64 wgmma", "matmul f16 64x128x64 wgmma"},
       {"matmul f16 128x256x64 wgmma stream-K", "matmul f16 128x128x64 wgmma stream-K", "matmul f16 128x64x64 wgmma stream-K",
        "matmul f16 64x128x64 wgmma stream-K"}},
      std::make_index_sequence<kHopperTileCount>(), plan, p, g);
}

}  // namespace heddle::cuda
