#include "matmul/hopper_fp8.cuh"

namespace heddle::cuda {

void launch_fp8_f16(const MatmulPlan& plan, const MatmulProblem& p, const FP8MatmulArgs& g) { launch_fp8<f16>(plan, p, g); }

}  // namespace heddle::cuda
