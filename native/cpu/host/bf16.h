#pragma once
// Products of f32 operands rounded to bf16, for processors that multiply such faster.
#include <string>
#include <vector>

#include "ops/backend.h"

namespace heddle::cpu {

using MatmulKernel = void (*)(const MatmulArgs&);

struct BF16Kernel {
  const char* name;     // amx, avx512_bf16 or f32
  MatmulKernel matmul;  // null in f32: products are computed in full
};

// That of the level in use: the best that this processor and its operating system have, or $HEDDLE_BF16. Throws OpError when that names one
// which this machine lacks. The first call asks the system for AMX's registers.
const BF16Kernel& bf16_kernel();

// What decides beside the level: what the processor tells by CPUID, what the system has enabled in XCR0, and whether it grants the process
// the data of tiles, which is asked only where all else is there.
struct BF16Features {
  unsigned leaf7_edx, leaf7_1_eax;  // CPUID 7.0 and 7.1
  uint64_t xcr0;
  bool (*grants_tiles)();
};
std::vector<std::string> bf16_kernels_of(const std::string& level, const BF16Features&);  // best first; the last is f32

// For tests: the compiled kernel of that name from now on, whether the machine has it or not; null: again the one that was chosen. False:
// there is none.
bool use_bf16_kernel(const char* name);

}  // namespace heddle::cpu
