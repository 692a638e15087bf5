// State of asynchronous instructions that other parts of the simulator look at.
#pragma once

#include "sim/machine/machine.h"

namespace sim {

struct Wgmma {  // one warp's quarter of a wgmma.mma_async in flight (9.7.15)
  const Instr* instr;
  uint32_t group;
  uint64_t desc_a, desc_b;
  bool accumulate, done;
  std::vector<uint32_t> a;  // A fragments when they come from registers
};

void describe_mbarriers(const Block& b, std::string& text);  // for the deadlock report
void check_mbarriers_at_exit(const Block& b);

}  // namespace sim
