#include "matmul/hopper.cuh"

namespace heddle::cuda {

void launch_f16_hopper(const MatmulPlan& plan, const MatmulProblem& p, const MatmulArgs& g) {
  launch_hopper<f16>({{"matmul f16 128x256x64 wgmma", "matmul f16 128x128x64 wgmma"},
                      {"matmul f16 128x256x64 wgmma stream-K", "matmul f16 128x128x64 wgmma stream-K"}},
                     plan, p, g);
}

}  // namespace heddle::cuda
