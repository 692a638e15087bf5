#include "matmul/mma.cuh"

namespace heddle::cuda {

void launch_bf16(const MatmulPlan& plan, const MatmulProblem& p, unsigned blocks) {
  launch_mma<bf16>({{"matmul bf16 128x128x32", "matmul bf16 64x64x32", "matmul bf16 64x64x32 unaligned"},
                    {"matmul bf16 128x128x32 stream-K", "matmul bf16 64x64x32 stream-K", "matmul bf16 64x64x32 unaligned stream-K"}},
                   plan, p, blocks);
}

}  // namespace heddle::cuda
