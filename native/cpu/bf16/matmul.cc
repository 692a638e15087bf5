// The matrix product of f32 operands rounded to bf16 as they are packed, summed in f32. Compiled for two additions to avx512
// (CMakeLists.txt): AVX-512 BF16's dot products of pairs, where k is cut into the blocks of matmul.cc and a block's sum is one chain over
// its pairs; and AMX's products of tiles (amx_tile.h), where c takes 32 of k at a time, in order. Neither sum depends on M, N, the threads
// or the place in a tile.
#include "cpu/matmul_blocks.h"

namespace heddle::cpu::HEDDLE_ISA {

void matmul_bf16(const MatmulArgs& g) { run_blocks<BF16>(g); }

}  // namespace heddle::cpu::HEDDLE_ISA
