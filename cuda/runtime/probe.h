#pragma once
#include <string>

#include "runtime/card.h"

namespace heddle::cuda {

// Why this build's kernels cannot run on the card (the current device); empty: they can.
std::string probe(const Card& card);

}  // namespace heddle::cuda
