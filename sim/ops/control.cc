// 9.7.12 Control Flow; 9.7.13 bar, barrier, barrier.cluster, griddepcontrol;
// 9.7.19 nanosleep, trap, setmaxnreg, pmevent.
#include "sim/machine/lanes.h"

namespace sim {

void decode_cluster_barrier(Decoder& d);

namespace {

void no_operation(Warp&, const Instr&) {}

void bra_run(Warp& w, const Instr& i) { w.branch(i.target); }
void bra(Decoder& d) {
  d.take("uni");
  d.label(0);
  d.emit(bra_run, {});
}
void exit_run(Warp& w, const Instr&) { w.exit_lanes(w.mask); }
void exit(Decoder& d) {
  d.take("uni");
  d.emit(exit_run, {});
}
void trap_run(Warp& w, const Instr&) { w.fault(__builtin_ctz(w.mask), "trap"); }
void trap(Decoder& d) { d.emit(trap_run, {}); }
void yield_run(Warp& w, const Instr&) { w.yielded = true; }
void nanosleep(Decoder& d) {
  d.take_type();
  d.emit(yield_run, {});
}

// ---- setmaxnreg: whole warpgroups, multiples of 8 in [24, 256] ----

void setmaxnreg_run(Warp& w, const Instr&) { w.converged(w.live); }
void setmaxnreg(Decoder& d) {
  if (!d.take("inc")) d.need("dec");
  d.need("sync"), d.need("aligned"), d.need("u32");
  const int64_t n = d.constant(0);
  if (n % 8 || n < 24 || n > 256) d.unsupported("setmaxnreg count");
  d.emit(setmaxnreg_run, {});
}
void griddepcontrol(Decoder& d) {
  if (!d.take("wait")) d.need("launch_dependents");
  d.emit(no_operation, {});
}
void pmevent(Decoder& d) {
  d.take("mask");
  d.emit(no_operation, {});
}

// ---- bar.sync, bar.arrive, bar.red; bar.warp.sync ----

enum Reduction : uint8_t { NoReduction, Popc, And, Or };

uint32_t uniform(Warp& w, uint32_t slot, const char* what) {
  auto* a = w.reg<uint32_t>(slot);
  const int first = __builtin_ctz(w.mask);
  for_lanes(w.mask, [&](int l) {
    if (a[l] != a[first]) w.fault(l, "%s differs between the lanes of a warp", what);
  });
  return a[first];
}

void bar_run(Warp& w, const Instr& i) {  // r: id, count or none
  if (!w.converged(w.live)) return;
  const uint32_t id = uniform(w, i.r[0], "barrier number");
  const uint32_t count = i.r[1] == kNone ? 0 : uniform(w, i.r[1], "barrier thread count");
  if (id > 15) w.fault(__builtin_ctz(w.mask), "barrier number %u", id);
  if (count % 32) w.fault(__builtin_ctz(w.mask), "barrier thread count %u is not a multiple of 32", count);
  if (i.flags && !count) w.fault(__builtin_ctz(w.mask), "bar.arrive needs a thread count");
  if (w.machine->options.strict && w.program->uses_async_proxy && w.mbarrier_unfenced)
    w.fault(__builtin_ctz(w.mbarrier_unfenced), "barrier after mbarrier.init without fence.mbarrier_init or fence.proxy.async");
  barrier_arrive(w, id, count, !i.flags);
}
// bar.red: the executing warps' votes are collected in the instruction's barrier before it completes.
void bar_red_run(Warp& w, const Instr& i) {  // r: d, id, count, predicate
  if (!w.converged(w.live)) return;
  Block& b = *w.block;
  const uint32_t id = uniform(w, i.r[1], "barrier number");
  if (id > 15 || i.r[2] != kNone) w.fault(__builtin_ctz(w.mask), "bar.red with a thread count");
  NamedBarrier& n = b.barriers[id];
  if (n.arrived == 0) n.popc = n.voters = 0;
  n.popc += uint32_t(std::popcount(w.pred(i.r[3]) & w.mask));
  n.voters += uint32_t(std::popcount(w.mask));
  n.results.push_back({&w, w.mask, &i});
  barrier_arrive(w, id, 0, true);
}

}  // namespace

void finish_reduction(NamedBarrier& n) {
  for (auto& r : n.results) {
    const uint32_t d = r.instr->r[0];
    if (r.instr->type == Popc) {
      for_lanes(r.mask, [&](int l) { r.warp->reg<uint32_t>(d)[l] = n.popc; });
    } else {
      const bool v = r.instr->type == And ? n.popc == n.voters : n.popc != 0;
      r.warp->pred(d) = (r.warp->pred(d) & ~r.mask) | (v ? r.mask : 0);
    }
  }
  n.results.clear();
}

namespace {

void bar_warp_run(Warp& w, const Instr& i) {
  auto* m = w.reg<uint32_t>(i.r[0]);
  const int first = __builtin_ctz(w.mask);
  const uint32_t mask = m[first];
  if (!(mask >> first & 1)) w.fault(first, "bar.warp.sync: the lane is not in mask %08x", mask);
  if (!w.converged(mask)) return;
  order_exchange(w, mask & w.live);
}

void bar(Decoder& d) {
  d.take("cta");
  if (d.take("cluster")) {
    return decode_cluster_barrier(d);
  }
  if (d.take("warp")) {
    d.need("sync");
    return d.emit(bar_warp_run, {d.source(0, Type::u32)});
  }
  d.take("aligned");
  if (d.take("red")) {
    d.instr.type = d.take("popc") ? Popc : d.take("and") ? And : Or;
    if (d.instr.type == Or) d.need("or");
    d.take_type();
    const bool counted = d.count() == 4;
    return d.emit(bar_red_run,
                  {d.dest(0), d.source(1, Type::u32), counted ? d.source(2, Type::u32) : kNone, d.source(counted ? 3 : 2, Type::pred)});
  }
  const bool arrive = d.take("arrive");
  if (!arrive) d.need("sync");
  d.instr.flags = arrive;
  d.emit(bar_run, {d.source(0, Type::u32), d.count() > 1 ? d.source(1, Type::u32) : kNone});
}

// ---- barrier.cluster ----

void cluster_arrive_run(Warp& w, const Instr&) {
  if (!w.converged(w.live)) return;
  Cluster& c = *w.block->cluster;
  if (w.cluster_arrived) w.fault(__builtin_ctz(w.mask), "barrier.cluster.arrive twice without wait");
  if (w.machine->options.strict && w.program->uses_async_proxy && w.mbarrier_unfenced)
    w.fault(__builtin_ctz(w.mbarrier_unfenced), "cluster barrier after mbarrier.init without fence.mbarrier_init");
  w.cluster_arrived = c.phase + 1;
  order_release(w, w.mask, c.sync);
  c.arrived += uint32_t(std::popcount(w.mask));
  cluster_barrier_update(c);
}
void cluster_wait_run(Warp& w, const Instr&) {
  if (!w.converged(w.live)) return;
  Cluster& c = *w.block->cluster;
  if (!w.cluster_arrived) w.fault(__builtin_ctz(w.mask), "barrier.cluster.wait without arrive");
  if (c.phase < w.cluster_arrived) return w.wait(Fragment::ClusterBarrier, 0, true);
  w.cluster_arrived = 0;
  order_acquire(w, w.mask, c.released);
}

}  // namespace

void cluster_barrier_update(Cluster& c) {
  if (c.arrived == 0 || c.arrived < c.live) return;
  c.arrived = 0;
  ++c.phase;
  c.released = c.sync;
  c.sync.clear();
  c.blocks[0]->machine->wake(&c, Fragment::ClusterBarrier, 0);
}

void decode_cluster_barrier(Decoder& d) {
  const bool arrive = d.take("arrive");
  if (!arrive) d.need("wait");
  d.ignore({"release", "acquire", "relaxed", "aligned"});
  d.emit(arrive ? cluster_arrive_run : cluster_wait_run, {});
}

namespace {

constexpr Family kFamilies[] = {
    {"bra", bra, "9.7.12 bra", "all"},
    {"ret", exit, "9.7.12 ret", "in kernels and functions"},
    {"exit", exit, "9.7.12 exit", "all"},
    {"trap", trap, "9.7.19 trap", "an error"},
    {"brkpt", trap, "9.7.19 brkpt", "an error"},
    {"nanosleep", nanosleep, "9.7.19 nanosleep", "lets other warps run"},
    {"setmaxnreg", setmaxnreg, "9.7.19 setmaxnreg", "checked, no effect"},
    {"griddepcontrol", griddepcontrol, "9.7.13 griddepcontrol", "no effect"},
    {"pmevent", pmevent, "9.7.19 pmevent", "no effect"},
    {"bar", bar, "9.7.13 bar, bar.warp.sync", ".sync .arrive .red, .warp.sync"},
    {"barrier", bar, "9.7.13 barrier, barrier.cluster", ".cta as bar (treated as .aligned); .cluster.arrive .wait"},
};

}  // namespace

std::span<const Family> control_families() { return kFamilies; }

}  // namespace sim
