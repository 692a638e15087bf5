// Vector clocks of the race detector: what a release leaves and an acquire finds.
//
// A barrier joins the histories of all participants into one new shared history, so its cost is linear in the threads.
#include <algorithm>
#include <unordered_map>

#include "sim/machine/machine.h"
#include "sim/machine/race_state.h"

namespace sim::race {

State& state() {
  static State s;
  return s;
}

namespace {

void raise(Times& a, const Times& b) {
  for (size_t t = 0; t < a.size(); ++t) a[t] = std::max(a[t], b[t]);
}
bool includes(const Times& a, const Times& b) {
  for (size_t t = 0; t < b.size(); ++t)
    if (a[t] < b[t]) return false;
  return true;
}
bool includes(const Clock& a, const Clock& b) {
  for (const auto& [serial, times] : b.past) {
    auto it = a.past.find(serial);
    if (it == a.past.end() || (it->second != times && !includes(*it->second, *times))) return false;
  }
  return includes(a.times, b.times);
}

void know(Clock& c, uint32_t serial, const std::shared_ptr<const Times>& times) {
  std::shared_ptr<const Times>& slot = c.past[serial];
  if (!slot || includes(*times, *slot)) {
    slot = times;
  } else {
    auto merged = std::make_shared<Times>(*slot);
    raise(*merged, *times);
    slot = merged;
  }
}

std::shared_ptr<const Clock> join(const Sync& s) {
  std::shared_ptr<Clock> c;
  if (s.bases.empty())
    c = std::make_shared<Clock>(Clock{Times(2 * state().entries(), 0), {}});
  else
    c = std::make_shared<Clock>(*s.bases[0]);
  for (size_t k = 1; k < s.bases.size(); ++k) {
    raise(c->times, s.bases[k]->times);
    for (const auto& [serial, times] : s.bases[k]->past) know(*c, serial, times);
  }
  for (auto [t, time] : s.times) c->times[t] = std::max(c->times[t], time);
  return c;
}

const std::shared_ptr<const Clock>& joined(Sync& s) {
  if (!s.joined) {
    s.joined = join(s);
    s.bases = {s.joined};
    s.times.clear();
  }
  return s.joined;
}

void add_base(Sync& s, const std::shared_ptr<const Clock>& b) {
  if (std::find(s.bases.begin(), s.bases.end(), b) == s.bases.end()) s.bases.push_back(b);
}

// Released values: address -> what the releasing threads of each cluster leave.
std::unordered_map<const uint8_t*, std::map<uint32_t, Sync>> released;

// The thread has read a value that was released.
void acquire_value(Warp& w, int lane, const uint8_t* p) {
  auto it = released.find(p);
  if (it == released.end()) return;
  const uint32_t mine = w.block->cluster->serial;
  for (auto& [serial, sync] : it->second) {
    if (serial == mine) {
      acquire(w, 1u << lane, sync);
      continue;
    }
    const Clock& theirs = *joined(sync);
    ThreadClock& t = w.clock[lane];
    auto known = t.base->past.find(serial);
    if (known != t.base->past.end() && includes(*known->second, theirs.times)) continue;
    auto c = std::make_shared<Clock>(*t.base);
    know(*c, serial, std::make_shared<Times>(theirs.times));
    for (const auto& [other, times] : theirs.past)
      if (other == mine)
        raise(c->times, *times);
      else
        know(*c, other, times);
    t.base = c;
  }
}

}  // namespace

void begin_launch(Machine& m) {
  State& s = state();
  s.first_serial = m.first_serial;
  s.per_block = uint32_t(round_up(m.launch.block.count(), 32));
  s.threads = uint32_t(m.launch.cluster.count()) * s.per_block;
  s.agents = 0;
  s.granule = m.launch.program->stores_bytes ? 1 : 2;
  released.clear();
}

void begin_cluster(Machine&, Cluster& c) {
  auto zero = std::make_shared<const Clock>(Clock{Times(2 * state().entries(), 0), {}});
  for (auto& b : c.blocks)
    for (Warp& w : b->warps) {
      w.clock = std::make_unique<ThreadClock[]>(32);
      for (int l = 0; l < 32; ++l) w.clock[l].base = zero, w.clock[l].own = 1;
    }
}

void release(Warp& w, uint32_t lanes, Sync& into) {
  into.joined.reset();
  for_lanes(lanes, [&](int l) {
    ThreadClock& t = w.clock[l];
    add_base(into, t.base);
    into.times.push_back({w.first_id + uint32_t(l), t.own++});
  });
}

void acquire(Warp& w, uint32_t lanes, Sync& from) {
  const auto j = joined(from);
  std::shared_ptr<const Clock> old, merged;  // lanes usually share one history
  for_lanes(lanes, [&](int l) {
    ThreadClock& t = w.clock[l];
    if (t.base != old) {
      old = t.base;
      if (includes(*j, *old)) {
        merged = j;
      } else if (includes(*old, *j)) {
        merged = old;
      } else {
        Sync both;
        both.bases = {old, j};
        merged = join(both);
      }
    }
    t.base = merged;
  });
}

void fence(Warp& w, uint32_t lanes) {
  for_lanes(lanes, [&](int l) {
    ThreadClock& t = w.clock[l];
    for (const uint8_t* p : t.observed) acquire_value(w, l, p);
    t.observed.clear();
    t.fenced = t.base;
    t.fence_time = t.own++;
  });
}

void proxy_fence(Warp& w, uint32_t lanes) {
  std::shared_ptr<const Clock> old;
  std::shared_ptr<Clock> now;
  const uint32_t n = state().entries();
  for_lanes(lanes, [&](int l) {
    ThreadClock& t = w.clock[l];
    if (t.base != old) {
      old = t.base;
      now = std::make_shared<Clock>(*old);
      for (uint32_t k = 0; k < n; ++k) now->times[n + k] = std::max(now->times[n + k], now->times[k]);
    }
    auto own = lanes & (lanes - 1) ? std::make_shared<Clock>(*now) : now;
    own->times[n + w.first_id + uint32_t(l)] = t.own++;
    t.base = own;
  });
}

void atomic_order(Warp& w, int lane, const uint8_t* p, bool reads, bool acquires, bool releases) {
  ThreadClock& t = w.clock[lane];
  if (reads) {
    if (acquires || !w.machine->options.strict)
      acquire_value(w, lane, p);
    else
      t.observed.push_back(p);
  }
  if (!releases && !t.fence_time) return;
  Sync& s = released[p][w.block->cluster->serial];
  if (releases) return release(w, 1u << lane, s);
  s.joined.reset();
  add_base(s, t.fenced);
  s.times.push_back({w.first_id + uint32_t(lane), t.fence_time});
}

Agent begin_agent(Warp& issuer, int lane, const Instr& site) {
  ThreadClock& t = issuer.clock[lane];
  State& s = state();
  Agent a{issuer.block->cluster,
          s.threads + s.agents % kAgents,
          s.agents / kAgents + 1,
          t.base,
          issuer.first_id + uint32_t(lane),
          t.own,
          &site};
  ++s.agents;
  ++t.own;  // what the issuer does next is concurrent with the agent
  return a;
}
void finish_agent(const Agent& a, Sync& into) {
  into.joined.reset();
  add_base(into, a.base);
  into.times.push_back({a.issuer, a.issuer_time});
  into.times.push_back({a.id, a.time});
}
void finish_agent(const Agent& a, Warp& w, int lane) {
  Sync s;
  finish_agent(a, s);
  acquire(w, 1u << lane, s);
}

}  // namespace sim::race
