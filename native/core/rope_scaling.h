// Rotary frequencies of models whose context was stretched after training: all slowed down alike (linear interpolation), or only those
// that turn less than a few times within the original context (Llama 3.1), with a passage between the two.
#pragma once

#include "core/random.h"

namespace heddle {

struct RopeScaling {
  double slow = 1;   // what a slow frequency is multiplied by; 1: nothing is scaled
  double turns = 0;  // of a frequency of 1 within the original context: context / (2 pi); 0: every frequency is slow
  double low = 0;    // turns up to which a frequency is slow
  double high = 0;   // turns from which it stays as it is
  double span = 0;   // 1 / (high - low)
};

// `static`: each instruction-set object has its own copy.
HEDDLE_HOST_DEVICE static inline double scaled_frequency(const RopeScaling& s, double frequency) {
  if (s.slow == 1) return frequency;
  const double turns = s.turns * frequency;
  if (turns <= s.low) return frequency * s.slow;
  if (turns >= s.high) return frequency;
  const double kept = (turns - s.low) * s.span;
  return frequency * (kept + (1 - kept) * s.slow);
}

}  // namespace heddle
