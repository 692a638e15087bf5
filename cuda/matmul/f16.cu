#include "matmul/mma.cuh"

namespace heddle::cuda {

void launch_f16(const MatmulPlan& plan, const MatmulProblem& p, unsigned blocks) {
  launch_mma<f16>({{"matmul f16 128x128x32", "matmul f16 64x64x32", "matmul f16 64x64x32 unaligned"},
                   {"matmul f16 128x128x32 stream-K", "matmul f16 64x64x32 stream-K", "matmul f16 64x64x32 unaligned stream-K"}},
                  plan, p, blocks);
}

}  // namespace heddle::cuda
