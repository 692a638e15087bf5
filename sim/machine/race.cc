// Data-race detector.  See race.h for what orders accesses.
//
// Every thread has a vector clock: a shared history (`base`) and its own time.  A barrier joins the
// histories of all participants into one new shared history, so its cost is linear in the threads.
#include "sim/machine/race.h"

#include <algorithm>

#include "sim/machine/machine.h"

namespace sim::race {

namespace {

constexpr uint32_t kAgents = 64;  // clock entries for the async engine, reused round robin
uint32_t launch_first_serial = 0, last_serial = 0, thread_count = 0;
uint32_t agent_count = 0;
std::unordered_map<const uint8_t*, Past> released;  // atomic variable -> clusters before its value

std::shared_ptr<const Clock> join(const Sync& s) {
  std::shared_ptr<Clock> c;
  if (s.bases.empty())
    c = std::make_shared<Clock>(thread_count + kAgents, 0);
  else
    c = std::make_shared<Clock>(*s.bases[0]);
  for (size_t k = 1; k < s.bases.size(); ++k)
    for (size_t t = 0; t < c->size(); ++t) (*c)[t] = std::max((*c)[t], (*s.bases[k])[t]);
  for (auto [t, time] : s.times) (*c)[t] = std::max((*c)[t], time);
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

std::string who(const Epoch& e, uint32_t cluster) {
  std::string s = e.kind & Write ? e.kind & Atomic ? "atomic write" : "write" : e.kind & Atomic ? "atomic read" : "read";
  s += e.thread < thread_count ? format(" by thread %u", e.thread) : std::string(" by the async engine");
  if (e.cluster != cluster) s += " of another block";
  return s;
}

struct Accessor {  // the thread or agent that accesses now
  Epoch epoch;
  const Clock* base;
  const Past* past;
  uint32_t issuer = ~0u, issuer_time = 0;  // agents: ordered after this
  const Program* program;
};

bool ordered(const Epoch& before, const Accessor& a, bool global) {
  if (before.cluster <= launch_first_serial) return true;  // an earlier launch, or never
  if (before.cluster != a.epoch.cluster) return !global || a.past->count(before.cluster);
  if (before.thread == a.epoch.thread && before.thread < thread_count) return true;
  if (before.thread == a.epoch.thread) return before.time <= a.epoch.time;
  if (before.thread == a.issuer && before.time <= a.issuer_time) return true;
  return (*a.base)[before.thread] >= before.time;
}

std::string site(const Program* p, const Epoch& e) {
  if (!e.site || !e.site->source) return "?";
  return p->module->where(*e.site->source) + ": " + std::string(e.site->source->text.substr(0, 60));
}

void check(Cell* first, Cell* last, const Accessor& a, bool global, const std::string& (*place)(uint64_t), uint64_t where) {
  const Epoch& now = a.epoch;
  for (Cell* c = first; c <= last; ++c) {
    auto test = [&](const Epoch& before) {
      if ((before.kind & now.kind & Atomic) || ordered(before, a, global)) return;
      fail("data race on %s: %s, not ordered with the earlier %s at %s", place(where + uint64_t(c - first) * kGranule).c_str(),
           who(now, now.cluster).c_str(), who(before, now.cluster).c_str(), site(a.program, before).c_str());
    };
    test(c->write);
    if (now.kind & Write) {
      for (Epoch& r : c->reads) {
        test(r);
        r = {};
      }
      c->write = now;
    } else {
      Epoch* slot = nullptr;
      for (Epoch& r : c->reads)
        if (!slot && (r.thread == now.thread || ordered(r, a, global))) slot = &r;
      if (!slot) slot = &c->reads[now.thread / 32 % 2];  // both taken: forget one
      *slot = now;
    }
  }
}

std::string text;
Block* naming_block = nullptr;
const std::string& shared_name(uint64_t offset) {
  text = format("shared offset %lu", offset);
  for (const SharedObject& o : naming_block->objects)
    if (offset >= o.begin && offset < o.end) text = format("shared '%s' + %lu", readable(o.name).c_str(), offset - o.begin);
  return text;
}
const std::string& global_name(uint64_t offset) {
  text = format("global memory, allocation + %lu", offset);
  return text;
}

Accessor thread_accessor(Warp& w, int lane, int kind) {
  const ThreadClock& t = w.clock[lane];
  Epoch e;
  e.cluster = w.block->cluster->serial;
  e.thread = uint16_t(w.first_id + uint32_t(lane));
  e.kind = uint8_t(kind);
  e.time = t.own;
  e.site = &w.program->code[w.pc];
  return {e, t.base.get(), &w.block->cluster->past, ~0u, 0, w.program};
}
Accessor agent_accessor(const Agent& a, int kind) {
  Epoch e;
  e.cluster = a.cluster->serial;
  e.thread = uint16_t(a.id);
  e.kind = uint8_t(kind);
  e.time = a.time;
  e.site = a.site;
  return {e, a.base.get(), &a.cluster->past, a.issuer, a.issuer_time, a.cluster->blocks[0]->warps[0].program};
}

void record_shared(const Accessor& a, Block& b, uint32_t offset, uint32_t bytes) {
  if (b.shadow.cells.empty()) b.shadow.cells.resize(b.shared.size() / kGranule + 1);
  naming_block = &b;
  check(&b.shadow.cells[offset / kGranule], &b.shadow.cells[(offset + bytes - 1) / kGranule], a, false, shared_name, offset);
}
void record_global(const Accessor& a, Allocation& al, uint64_t address, uint64_t bytes) {
  if (al.kind == Allocation::Params || !bytes) return;
  if (al.shadow.cells.empty()) al.shadow.cells.resize((al.end - al.begin) / kGranule + 2);
  const uint64_t at = address - al.begin;
  check(&al.shadow.cells[at / kGranule], &al.shadow.cells[(at + bytes - 1) / kGranule], a, true, global_name, at);
}

}  // namespace

void begin_launch(Machine& m) {
  launch_first_serial = last_serial;
  released.clear();
  thread_count = uint32_t(m.launch.cluster.count() * round_up(m.launch.block.count(), 32));
  agent_count = 0;
}

void begin_cluster(Machine&, Cluster& c) {
  last_serial = std::max(last_serial, c.serial);
  auto zero = std::make_shared<const Clock>(thread_count + kAgents, 0);
  for (auto& b : c.blocks)
    for (Warp& w : b->warps)
      for (ThreadClock& t : w.clock) t = {zero, 1, false};
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
  const auto& j = joined(from);
  std::shared_ptr<const Clock> old, merged;  // lanes usually share one history
  for_lanes(lanes, [&](int l) {
    ThreadClock& t = w.clock[l];
    if (t.base != old) {
      old = t.base;
      bool newer = true;  // j includes all of the lane's history
      for (size_t k = 0; k < j->size() && newer; ++k) newer = (*j)[k] >= (*old)[k];
      Sync both;
      both.bases = {old, j};
      merged = newer ? j : join(both);
    }
    t.base = merged;
  });
}

void exchange(Warp& w, uint32_t lanes) {
  Sync s;
  release(w, lanes, s);
  acquire(w, lanes, s);
}

void fence(Warp& w, uint32_t lanes) {
  for_lanes(lanes, [&](int l) { w.clock[l].fenced = true; });
}

void shared_access(Warp& w, int lane, Block& b, uint32_t offset, uint32_t bytes, int kind) {
  try {
    record_shared(thread_accessor(w, lane, kind), b, offset, bytes);
  } catch (...) {
    w.fault_lane = lane;
    throw;
  }
}
void global_access(Warp& w, int lane, Allocation& a, uint64_t address, uint64_t bytes, int kind) {
  try {
    record_global(thread_accessor(w, lane, kind), a, address, bytes);
  } catch (...) {
    w.fault_lane = lane;
    throw;
  }
}

// Atomics order clusters: a value published after a fence carries its writer's past.
void atomic_order(Warp& w, int lane, const uint8_t* p, bool acquires, bool releases) {
  Cluster& c = *w.block->cluster;
  if (acquires)
    if (auto it = released.find(p); it != released.end()) c.past.insert(it->second.begin(), it->second.end());
  if (releases || w.clock[lane].fenced) {
    Past& r = released[p];
    r.insert(c.past.begin(), c.past.end());
    r.insert(c.serial);
  }
}

Agent begin_agent(Warp& issuer, int lane, const Instr& site) {
  ThreadClock& t = issuer.clock[lane];
  Agent a{issuer.block->cluster,
          thread_count + agent_count % kAgents,
          agent_count / kAgents + 1,
          t.base,
          issuer.first_id + uint32_t(lane),
          t.own,
          &site};
  ++agent_count;
  ++t.own;  // what the issuer does next is concurrent with the agent
  return a;
}
void agent_shared(const Agent& a, Block& b, uint32_t offset, uint32_t bytes, int kind) {
  record_shared(agent_accessor(a, kind), b, offset, bytes);
}
void agent_global(const Agent& a, Allocation& al, uint64_t address, uint64_t bytes, int kind) {
  record_global(agent_accessor(a, kind), al, address, bytes);
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
