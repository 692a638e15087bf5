// State of the race detector during one launch. Only a machine that runs alone uses it.
#pragma once

#include "sim/machine/race.h"

namespace sim::race {

constexpr uint32_t kAgents = 64;  // clock entries for the async engine, reused round robin

struct State {
  uint32_t first_serial = 0;  // clusters up to this one belong to earlier launches
  uint32_t threads = 0;       // of a cluster
  uint32_t per_block = 0;     // of a block; both rounded up to whole warps
  uint32_t granule = 2;       // Shadow::granule in this launch
  uint32_t agents = 0;        // operations of the async engine so far
  uint32_t entries() const { return threads + kAgents; }
};
State& state();

}  // namespace sim::race
