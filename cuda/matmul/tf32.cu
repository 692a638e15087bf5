#include "matmul/mma.cuh"

namespace heddle::cuda {

void launch_tf32(const MatmulPlan& plan, const MatmulProblem& p, unsigned blocks) {
  launch_mma<float>({{"matmul tf32 128x128x16", "matmul tf32 64x64x16", "matmul tf32 64x64x16 unaligned"},
                     {"matmul tf32 128x128x16 stream-K", "matmul tf32 64x64x16 stream-K", "matmul tf32 64x64x16 unaligned stream-K"}},
                    plan, p, blocks);
}

}  // namespace heddle::cuda
