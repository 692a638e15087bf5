#pragma once
#include <string>

#include "runtime/card.h"

namespace heddle::cuda {

// Why this build's kernels cannot run on the card (the current device); empty: they can.
std::string probe(const Card& card);

// Whether its sm_90a kernels run on the current device.
bool has_hopper_code();

}  // namespace heddle::cuda
