// Divergence and block-wide barriers.
//
// A warp is a set of fragments (lanes with a common program counter). Fragments that meet at the same program counter merge.
#include <cstdarg>

#include "sim/machine/machine.h"
#include "sim/machine/tensor.h"

namespace sim {

Warp::Warp() = default;
Warp::~Warp() = default;

void Warp::wait(Fragment::State state, uint64_t key, bool again) {
  changed = true;
  Fragment& f = fragments[current];
  const uint32_t rest = f.mask & ~mask;
  f.mask = mask;
  f.state = state;
  f.key = key;
  if (again) next = pc;
  if (rest) fragments.push_back({pc + 1, rest, Fragment::Ready, 0});
}

bool Warp::converged(uint32_t needed) {
  if (!(needed & live & ~mask)) return true;
  wait(Fragment::Converge, pc, true);
  return false;
}

void Warp::branch(uint32_t target) {
  Fragment& f = fragments[current];
  const uint32_t rest = f.mask & ~mask;
  if (!rest) {
    next = target;
    return;
  }
  changed = true;
  ++machine->profile.divergent_branches;
  f.mask = rest;
  fragments.push_back({target, mask, Fragment::Ready, 0});
}

void Warp::exit_lanes(uint32_t lanes) {
  thread_exit_checks(*this, lanes);
  changed = true;
  fragments[current].mask &= ~lanes;
  live &= ~lanes;
  for (Fragment& f : fragments)
    if (f.state == Fragment::Converge) f.state = Fragment::Ready;  // they may have waited for these lanes
  const uint32_t n = uint32_t(__builtin_popcount(lanes));
  block->live -= n;
  block->cluster->live -= n;
  if (!live)
    for (uint32_t id = 0; id < 16; ++id)
      if (NamedBarrier& b = block->barriers[id]; b.arrived && !b.expected) barrier_arrive(*this, id, 0, false);
  if (block->cluster->live) cluster_barrier_update(*block->cluster);
}

void Warp::fault(int lane, const char* f, ...) {
  char text[2048];
  va_list args;
  va_start(args, f);
  vsnprintf(text, sizeof text, f, args);
  va_end(args);
  fault_lane = lane;
  throw Error(text);
}

// ------------------------------------------------------------------------------------- barriers

void Machine::wake_block(Block& b, Fragment::State state, uint64_t key) {
  for (Warp& w : b.warps)
    for (Fragment& f : w.fragments)
      if (f.state == state && f.key == key) f.state = Fragment::Ready;
}
void Machine::wake(Cluster* c, Fragment::State state, uint64_t key) {
  for (auto& b : c->blocks) wake_block(*b, state, key);
}

// One warp arrives (none if it has exited); completes the barrier when it is the last.
void barrier_arrive(Warp& w, uint32_t id, uint32_t count, bool wait) {
  Block& b = *w.block;
  NamedBarrier& n = b.barriers[id];
  if (w.live) {
    if (n.arrived && n.expected != count)
      w.fault(__builtin_ctz(w.mask), "barrier %u: thread count %u here, %u in an earlier arrival", id, count, n.expected);
    n.expected = count;
    n.arrived += 32;
    order_release(w, w.mask, n.sync);
    if (wait) w.wait(Fragment::Barrier, id, false);
  }
  uint32_t expected = count;
  if (!count)
    for (Warp& other : b.warps) expected += other.live ? 32 : 0;
  if (n.arrived > expected) w.fault(-1, "barrier %u: %u threads arrived, %u expected", id, n.arrived, expected);
  if (n.arrived < expected || !n.arrived) return;
  finish_reduction(n);
  for (Warp& other : b.warps)
    for (Fragment& f : other.fragments)
      if (f.state == Fragment::Barrier && f.key == id) {
        order_acquire(other, f.mask, n.sync);
        f.state = Fragment::Ready;
      }
  n.arrived = 0;
  n.sync.clear();
}

}  // namespace sim
