// What the instructions that access memory share.
#pragma once

#include "sim/machine/lanes.h"

namespace sim {

constexpr uint64_t kStrong = 1, kAcquire = 2, kRelease = 4;  // Instr::flags: memory order

// Addresses of the executing lanes: base register + offset.
void lane_addresses(Warp& w, const Instr& i, uint32_t base, uint64_t* address);

void cache_hints(Decoder& d);   // takes modifiers that have no effect on values
void memory_order(Decoder& d);  // sets Instr::flags
int vector_size(Decoder& d);    // .v2 .v4 .v8, else 1

// The elements of operand i; braces around a single register are allowed.
std::vector<Operand> elements(Decoder& d, size_t i, int count);

}  // namespace sim
