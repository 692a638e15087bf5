#pragma once
#include <cstdint>

#include "core/random.h"  // HEDDLE_HOST_DEVICE

namespace heddle::cuda {

// Divides numbers below 2^31 by a number known at launch: a multiplication and a shift (Granlund and Montgomery, "Division by
// Invariant Integers using Multiplication", PLDI 1994, figure 4.1).
struct Divider {
  uint32_t divisor = 1, factor = 1, shift = 0;

  Divider() = default;
  explicit Divider(uint32_t d) : divisor(d) {  // d from 1 to 2^31
    while ((uint64_t{1} << shift) < d) ++shift;
    factor = static_cast<uint32_t>((uint64_t{1} << 32) * ((uint64_t{1} << shift) - d) / d + 1);
  }
  HEDDLE_HOST_DEVICE uint32_t divide(uint32_t n) const { return (static_cast<uint32_t>(uint64_t{n} * factor >> 32) + n) >> shift; }
};

}  // namespace heddle::cuda
