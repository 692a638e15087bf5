#pragma once
// One function per path, each in a file of its own: they are long to compile.
#include "matmul/config.h"

namespace heddle::cuda {

struct MatmulProblem;

void launch_fma(const MatmulPlan&, const MatmulProblem&, unsigned blocks);
void launch_bf16(const MatmulPlan&, const MatmulProblem&, unsigned blocks);
void launch_f16(const MatmulPlan&, const MatmulProblem&, unsigned blocks);
void launch_tf32(const MatmulPlan&, const MatmulProblem&, unsigned blocks);

// The same on Hopper, where the plan says so; `args`, flattened, for the maps of its operands.
void launch_bf16_hopper(const MatmulPlan&, const MatmulProblem&, const MatmulArgs& args);
void launch_f16_hopper(const MatmulPlan&, const MatmulProblem&, const MatmulArgs& args);

// Of codes, with results of that type.
void launch_fp8_bf16(const MatmulPlan&, const MatmulProblem&, const FP8MatmulArgs& args);
void launch_fp8_f16(const MatmulPlan&, const MatmulProblem&, const FP8MatmulArgs& args);

}  // namespace heddle::cuda
