// Mbarrier operations used by asynchronous copies (9.7.13 mbarrier).
#pragma once

#include "sim/machine/machine.h"

namespace sim {

uint64_t mbarrier_key(const SharedPlace& p);
uint64_t mbarrier_arrive(Warp& w, int lane, const SharedPlace& p, uint32_t count, int64_t tx);  // the state before
void mbarrier_expect_more(Warp& w, int lane, const SharedPlace& p);                             // one more pending arrival
void mbarrier_expect_tx(Warp& w, const SharedPlace& p, int64_t tx);
void mbarrier_complete_tx(Machine& m, const SharedPlace& p, uint32_t bytes);
void mbarrier_check(const SharedPlace& p);  // fails unless it is initialised

}  // namespace sim
