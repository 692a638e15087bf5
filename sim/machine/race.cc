// Data races: every access is compared with the last accesses of the same bytes. race.h says what orders them.
#include "sim/machine/race.h"

#include <algorithm>

#include "sim/machine/machine.h"
#include "sim/machine/race_state.h"

namespace sim::race {

namespace {

constexpr size_t kRemembered = 64;  // warps whose reads of one cell are kept

struct Accessor {  // the thread or agent that accesses now
  Epoch epoch;
  const Clock* base;
  const Program* program;
  uint32_t issuer = ~0u, issuer_time = 0;  // agents: ordered after this
  bool silent = false;                     // stores what is there already
};

bool ordered(uint32_t cluster, uint32_t thread, uint32_t time, const Accessor& a) {
  if (cluster <= state().first_serial) return true;  // an earlier launch, or never
  if (cluster != a.epoch.cluster) {
    auto it = a.base->past.find(cluster);
    return it != a.base->past.end() && (*it->second)[thread] >= time;
  }
  if (thread == a.epoch.thread) return thread < state().threads || time <= a.epoch.time;
  if (thread == a.issuer && time <= a.issuer_time) return true;
  return a.base->times[thread] >= time;
}
bool ordered(const Epoch& e, const Accessor& a) { return ordered(e.cluster, e.thread, e.time, a); }
uint32_t unordered_lanes(const Accesses& e, const Accessor& a) {
  uint32_t left = 0;
  for_lanes(e.lanes, [&](int l) { left |= uint32_t(!ordered(e.cluster, e.warp * 32u + uint32_t(l), e.time, a)) << l; });
  return left;
}

std::string who(uint32_t kind, uint32_t thread, uint32_t cluster, const Accessor& a) {
  std::string s = kind & Write ? kind & Atomic ? "atomic write" : "write" : kind & Atomic ? "atomic read" : "read";
  if (thread >= state().threads) return s + " by the async engine";
  s += format(" by thread %u", thread % state().per_block);
  if (state().threads > state().per_block) s += format(" of block %u of the cluster", thread / state().per_block);
  return cluster == a.epoch.cluster ? s : s + (state().threads > state().per_block ? " (another cluster)" : " of another block");
}

struct Where {  // for messages
  const Block* block;
  uint64_t offset;
  std::string name(uint64_t further) const {
    const uint64_t at = offset + further;
    if (!block) return format("global memory, allocation + %lu", at);
    for (const SharedObject& o : block->objects)
      if (at >= o.begin && at < o.end) return format("shared '%s' + %lu", readable(o.name).c_str(), at - o.begin);
    return format("shared offset %lu", at);
  }
};

std::string site(const Program* p, uint32_t index) {
  const ptx::Statement* s = index < p->code.size() ? p->code[index].source : nullptr;
  return s ? p->module->where(*s) + ": " + std::string(s->text.substr(0, 60)) : "?";
}

// Calls f for the remembered accesses since the last write.
template <class F>
void each(Shadow& s, Cell& c, F&& f) {
  if (c.first.cluster) f(c.first);
  if (c.more)
    for (Accesses& e : s.more[c.more]) f(e);
}

void forget(Shadow& s, Cell& c) {
  c.first = {};
  if (!c.more) return;
  s.more[c.more].clear();
  s.unused.push_back(c.more);
  c.more = 0;
}

void remember(Shadow& s, Cell& c, const Epoch& e, const Accessor& a) {
  const Accesses now{e.cluster, e.thread / 32u, e.kind, 1u << e.thread % 32, e.time, e.site};
  Accesses* free = c.first.cluster ? nullptr : &c.first;
  bool done = false;
  each(s, c, [&](Accesses& old) {
    if (done) return;
    if (old.cluster == now.cluster && old.warp == now.warp && old.kind == now.kind) {
      if (old.time == now.time) {
        old.lanes |= now.lanes;
        done = true;
        return;
      }
      old.lanes &= ~now.lanes;  // program order
    }
    if (!free && !(old.kind & Write & ~now.kind) && !unordered_lanes(old, a)) free = &old;
  });
  if (done) return;
  if (free) {
    *free = now;
    return;
  }
  if (!c.more) {
    if (s.more.empty()) s.more.emplace_back();  // index 0: none
    if (s.unused.empty()) {
      s.unused.push_back(uint32_t(s.more.size()));
      s.more.emplace_back();
    }
    c.more = s.unused.back();
    s.unused.pop_back();
  }
  std::vector<Accesses>& more = s.more[c.more];
  if (more.size() < kRemembered)
    more.push_back(now);
  else
    more[now.time % kRemembered] = now;
}

[[noreturn]] void report(const Accessor& a, const std::string& place, uint32_t kind, uint32_t thread, uint32_t cluster, uint32_t at) {
  const Epoch& now = a.epoch;
  fail("data race on %s: %s, not ordered with the earlier %s at %s", place.c_str(), who(now.kind, now.thread, now.cluster, a).c_str(),
       who(kind, thread, cluster, a).c_str(), site(a.program, at).c_str());
}

// The async proxy may touch what ordinary stores wrote only after a fence.proxy.async on the path between them (8. Proxies:
// proxy-preserved base causality order).
template <class Place>
void check_fenced(const Cell& c, const Accessor& a, Place&& place) {
  const Epoch& w = c.write;
  if (w.cluster != a.epoch.cluster || w.kind & AsyncProxy || !(w.kind & Write)) return;
  if (a.base->times[state().entries() + w.thread] >= w.time) return;
  fail("missing fence.proxy.async on %s: %s by the async proxy, and no such fence lies between it and the ordinary %s at %s",
       place().c_str(), a.epoch.kind & Write ? "write" : "read", who(w.kind, w.thread, w.cluster, a).c_str(),
       site(a.program, w.site).c_str());
}

void check(Shadow& s, uint64_t offset, uint64_t bytes, const Accessor& a, const Where& where) {
  const uint64_t first = offset / s.granule, last = (offset + bytes - 1) / s.granule;
  const Epoch& now = a.epoch;
  for (uint64_t k = first; k <= last; ++k) {
    Cell& c = s.cells[k];
    auto place = [&] { return where.name((k - first) * s.granule); };
    // Of lanes that store together one wins. Warps may store the same value (compilers let them).
    const bool together = now.step && c.write.step == now.step && c.write.cluster == now.cluster && now.kind & Write;
    if (!together && !a.silent && !(c.write.kind & now.kind & Atomic) && !ordered(c.write, a))
      report(a, place(), c.write.kind, c.write.thread, c.write.cluster, c.write.site);
    if (now.kind & AsyncProxy && where.block) check_fenced(c, a, place);
    each(s, c, [&](const Accesses& e) {
      if (e.kind & now.kind & Atomic || !((e.kind | now.kind) & Write)) return;
      if (uint32_t lanes = unordered_lanes(e, a))
        report(a, place(), e.kind, e.warp * 32u + uint32_t(__builtin_ctz(lanes)), e.cluster, e.site);
    });
    if (!(now.kind & Write)) {
      remember(s, c, now, a);
      continue;
    }
    const Epoch before = c.write;
    if (now.kind & Atomic) {
      // Other atomic accesses stay remembered: a later ordinary access must be ordered after each of them.
      if (before.kind & Atomic && before.cluster && !ordered(before, a)) remember(s, c, before, a);
    } else {
      forget(s, c);
    }
    c.write = now;
  }
}

Accessor thread_accessor(Warp& w, int lane, int kind) {
  const ThreadClock& t = w.clock[lane];
  Epoch e;
  e.cluster = w.block->cluster->serial;
  e.thread = uint16_t(w.first_id + uint32_t(lane));
  e.kind = uint8_t(kind);
  e.time = t.own;
  e.site = w.pc;
  e.step = uint32_t(w.machine->profile.warp_instructions);
  return {e, t.base.get(), w.program};
}
Accessor agent_accessor(const Agent& a, int kind) {
  const Program* p = a.cluster->blocks[0]->warps[0].program;
  Epoch e;
  e.cluster = a.cluster->serial;
  e.thread = uint16_t(a.id);
  e.kind = uint8_t(kind);
  e.time = a.time;
  e.site = uint32_t(a.site - p->code.data());
  return {e, a.base.get(), p, a.issuer, a.issuer_time};
}

bool silent(const Warp& w, int lane, int kind, const uint8_t* there, uint64_t bytes) {
  return kind == Write && w.stored && !w.machine->options.strict && !memcmp(w.stored + uint64_t(lane) * bytes, there, bytes);
}

// Accesses of earlier launches do not matter, so cells of another size are simply replaced.
void prepare(Shadow& s, uint64_t bytes) {
  if (s.granule == state().granule) return;
  s = {};
  s.granule = state().granule;
  s.cells.resize(bytes / s.granule + 2);
}

void record_shared(const Accessor& a, Block& b, uint32_t offset, uint32_t bytes) {
  prepare(b.shadow, b.shared.size());
  check(b.shadow, offset, bytes, a, {&b, offset});
}
void record_global(const Accessor& a, Allocation& al, uint64_t address, uint64_t bytes) {
  if (al.kind == Allocation::Params || !bytes) return;
  prepare(al.shadow, al.end - al.begin);
  check(al.shadow, address - al.begin, bytes, a, {nullptr, address - al.begin});
}

}  // namespace

void shared_access(Warp& w, int lane, Block& b, uint32_t offset, uint32_t bytes, int kind) {
  try {
    Accessor a = thread_accessor(w, lane, kind);
    a.silent = silent(w, lane, kind, b.shared.data() + offset, bytes);
    record_shared(a, b, offset, bytes);
  } catch (...) {
    w.fault_lane = lane;
    throw;
  }
}
void global_access(Warp& w, int lane, Allocation& a, uint64_t address, uint64_t bytes, int kind) {
  try {
    Accessor accessor = thread_accessor(w, lane, kind);
    accessor.silent = silent(w, lane, kind, reinterpret_cast<const uint8_t*>(address), bytes);
    record_global(accessor, a, address, bytes);
  } catch (...) {
    w.fault_lane = lane;
    throw;
  }
}
void agent_shared(const Agent& a, Block& b, uint32_t offset, uint32_t bytes, int kind) {
  record_shared(agent_accessor(a, kind), b, offset, bytes);
}
void agent_global(const Agent& a, Allocation& al, uint64_t address, uint64_t bytes, int kind) {
  record_global(agent_accessor(a, kind), al, address, bytes);
}

}  // namespace sim::race
