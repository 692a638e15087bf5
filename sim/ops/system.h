// The driver's workspace of a cooperative grid, whose address %envreg1 (high) and %envreg2 (low) hold.
#pragma once

#include <cstdint>

namespace sim {

uint64_t grid_workspace();
void reset_grid_workspace();  // before each launch

}  // namespace sim
