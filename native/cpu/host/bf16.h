#pragma once
// Products of f32 operands rounded to bf16, for processors that multiply pairs of them in one instruction.
#include "ops/backend.h"

namespace heddle::cpu {

using MatmulKernel = void (*)(const MatmulArgs&);

// Of the level in use; null where it has none.
MatmulKernel bf16_matmul();

}  // namespace heddle::cpu
