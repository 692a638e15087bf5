// The matrix product of f32 operands rounded to bf16 as they are packed, summed in f32: AVX-512 BF16's dot products of pairs. k is cut into
// the blocks of matmul.cc; a block's sum is one chain over its pairs. Compiled for one more instruction set than avx512 (CMakeLists.txt).
#include "cpu/matmul_blocks.h"

namespace heddle::cpu::HEDDLE_ISA {

void matmul_bf16(const MatmulArgs& g) { run_blocks<BF16>(g); }

}  // namespace heddle::cpu::HEDDLE_ISA
