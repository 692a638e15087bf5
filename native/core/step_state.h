#pragma once
// What changes every optimizer step and therefore lives on the device (a tensor of 16 f32 or i32 elements): a captured graph
// replays without edits. Written by step_begin and grad_norm, read by the optimizers; the next learning rate comes from the host.
#include <cstdint>

namespace heddle {

struct StepState {
  int32_t updates;   // optimizer updates so far, this one included: t of Adam's bias correction
  int32_t skip;      // 1: the gradients were not finite, parameters stay
  float lr;          // learning rate of this step
  float clip;        // factor on every gradient, from the global norm
  float grad_norm;   // before clipping
  float loss_scale;  // gradients carry this factor (1 in f32); the optimizer divides by it
  float loss;        // of the step, put here by whoever wants to read it together with the rest
  float next_lr;     // learning rate of the next step: step_begin makes it this step's
  int32_t reserved[8];
};
static_assert(sizeof(StepState) == 64);

}  // namespace heddle
