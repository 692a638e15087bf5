// Runs a grid: clusters, warps, divergence, barriers, asynchronous work, deadlocks.
//
// A warp is a set of fragments (lanes with a common program counter).  Fragments that meet at the same
// program counter merge.  By default the lowest program counter runs first, which reconverges
// structured code as the compiler intended; odd seeds run the other side of a branch first.
#include <algorithm>
#include <cstdarg>
#include <cstdlib>

#include "sim/machine/machine.h"
#include "sim/machine/tensor.h"
#include "sim/ops/system.h"

namespace sim {

Warp::Warp() { std::fill_n(proxy_fences, 32, 1u); }
Warp::~Warp() = default;

Options Options::from_environment() {
  Options o;
  auto number = [](const char* name, uint64_t otherwise) {
    const char* s = getenv(name);
    return s && *s ? strtoull(s, nullptr, 0) : otherwise;
  };
  o.seed = number("SIM_SEED", 0);
  o.race = number("SIM_RACE", 0) != 0;
  o.profile = number("SIM_PROFILE", 0) != 0;
  o.trace = number("SIM_TRACE", 0) != 0;
  o.resident = uint32_t(std::max<uint64_t>(1, number("SIM_RESIDENT", o.resident)));
  o.spin_limit = number("SIM_SPIN_LIMIT", o.spin_limit);
  return o;
}

// --------------------------------------------------------------------------------- divergence

void Warp::wait(Fragment::State state, uint64_t key, bool again) {
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
  ++machine->profile.divergent_branches;
  f.mask = rest;
  fragments.push_back({target, mask, Fragment::Ready, 0});
}

void Warp::exit_lanes(uint32_t lanes) {
  thread_exit_checks(*this, lanes);
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

std::string context(const Warp& w) {
  const Dim3& b = w.block->index;
  std::string s = format("\n  in %s, block (%u,%u,%u), warp %u", readable(w.program->function->name).c_str(), b.x, b.y, b.z, w.index);
  if (w.fault_lane >= 0) s += format(" lane %d (thread %u)", w.fault_lane, w.index * 32 + unsigned(w.fault_lane));
  if (const ptx::Statement* at = w.program->code[w.pc].source) {
    std::string text(at->text.substr(0, 200));
    std::replace(text.begin(), text.end(), '\n', ' ');
    s += "\n  at " + w.program->module->where(*at) + ": " + text;
  }
  return s;
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
    if (w.machine->options.race) race::release(w, w.mask, n.sync);
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
        if (w.machine->options.race) race::acquire(other, f.mask, n.sync);
        f.state = Fragment::Ready;
      }
  n.arrived = 0;
  n.sync.clear();
}

// ------------------------------------------------------------------------------ asynchronous work

void Machine::defer(Warp& issuer, std::function<void()> op, const std::function<void()>& poison) {
  ++progress;
  if (lands_early()) return op();
  poison();
  engine.push_back({issuer.block->cluster, &issuer, issuer.pc, std::move(op)});
}

namespace {

void run_async_op(Machine& m) {
  const size_t k = m.options.seed < 2 ? 0 : m.random() % m.engine.size();
  AsyncOp op = std::move(m.engine[k]);
  m.engine.erase(m.engine.begin() + long(k));
  try {
    op.run();
  } catch (const Error& e) {
    op.issuer->pc = op.pc;
    op.issuer->fault_lane = -1;
    throw Error(e.what() + context(*op.issuer));
  }
}

// ----------------------------------------------------------------------------------- one warp

bool runnable(const Warp& w) {
  return std::any_of(w.fragments.begin(), w.fragments.end(), [](const Fragment& f) { return f.state == Fragment::Ready; });
}

// The ready fragment to run next.
size_t choose_fragment(Machine& m, Warp& w) {
  size_t best = w.fragments.size(), ready = 0;
  for (size_t k = 0; k < w.fragments.size(); ++k) {
    const Fragment& f = w.fragments[k];
    if (f.state != Fragment::Ready) continue;
    ++ready;
    const bool better =
        best == w.fragments.size() ||
        (m.options.seed < 2 ? (m.options.seed ? f.pc > w.fragments[best].pc : f.pc < w.fragments[best].pc) : m.random() % ready == 0);
    if (better) best = k;
  }
  return best;
}

// Merges fragments at the program counter of the current one; says whether another should run first.
bool reconverge(Machine& m, Warp& w, bool fair) {
  for (size_t k = 0; k < w.fragments.size(); ++k) {
    Fragment& f = w.fragments[w.current];
    const Fragment& o = w.fragments[k];
    if (k == w.current || o.pc != f.pc || (o.state != Fragment::Ready && o.state != Fragment::Converge)) continue;
    f.mask |= o.mask;
    w.fragments.erase(w.fragments.begin() + long(k));
    if (k < w.current) --w.current;
    --k;
  }
  if (fair || m.options.seed & 1) return false;
  const uint32_t pc = w.fragments[w.current].pc;
  return std::any_of(w.fragments.begin(), w.fragments.end(), [&](const Fragment& o) { return o.state == Fragment::Ready && o.pc < pc; });
}

void trace(const Warp& w, const Instr& i) {
  fprintf(stderr, "b%u w%u %08x %5u: %.*s\n", w.block->index.x, w.index, w.mask, w.pc, i.source ? int(i.source->text.size()) : 0,
          i.source ? i.source->text.data() : "");
}

void run_warp(Machine& m, Warp& w, uint32_t quantum, bool fair) {
  const Instr* code = w.program->code.data();
  w.current = choose_fragment(m, w);
  w.yielded = false;
  for (; quantum; --quantum) {
    Fragment* f = &w.fragments[w.current];
    const Instr& i = code[f->pc];
    uint32_t exec = f->mask;
    if (i.guard != kNone) exec &= i.guard_negated ? ~w.pred(i.guard) : w.pred(i.guard);
    w.pc = f->pc;
    w.next = f->pc + 1;
    if (exec) {
      w.mask = exec;
      ++m.profile.warp_instructions;
      m.profile.thread_instructions += uint64_t(__builtin_popcount(exec));
      if (m.options.trace) trace(w, i);
      i.run(w, i);
      f = &w.fragments[w.current];
    }
    f->pc = w.next;
    if (!f->mask) {
      w.fragments.erase(w.fragments.begin() + long(w.current));
      return;
    }
    if (f->state != Fragment::Ready || w.yielded) return;
    if (w.fragments.size() > 1 && reconverge(m, w, fair)) w.current = choose_fragment(m, w);
  }
  w.yielded = true;
}

// ------------------------------------------------------------------------------------ deadlock

[[noreturn]] void report_deadlock(Machine& m) {
  std::string text = "deadlock: no thread can run";
  int lines = 0;
  for (auto& c : m.clusters)
    for (auto& b : c->blocks) {
      for (Warp& w : b->warps)
        for (const Fragment& f : w.fragments) {
          if (++lines > 40) continue;
          const char* why = f.state == Fragment::Converge   ? "waits for the other lanes of its warp (divergence)"
                            : f.state == Fragment::Barrier  ? "waits in a barrier"
                            : f.state == Fragment::MBarrier ? "waits for an mbarrier"
                                                            : "waits in the cluster barrier";
          const uint32_t at = f.state == Fragment::Barrier ? f.pc - 1 : f.pc;
          const ptx::Statement* s = w.program->code[at].source;
          text += format("\n  block (%u,%u,%u) warp %u lanes %08x %s", b->index.x, b->index.y, b->index.z, w.index, f.mask, why);
          if (s) text += " at " + w.program->module->where(*s) + ": " + std::string(s->text.substr(0, 80));
        }
      for (int id = 0; id < 16; ++id)
        if (b->barriers[id].arrived)
          text += format("\n  block (%u,%u,%u) barrier %d: %u threads arrived, %s", b->index.x, b->index.y, b->index.z, id,
                         b->barriers[id].arrived,
                         b->barriers[id].expected ? format("%u expected", b->barriers[id].expected).c_str() : "all expected");
      describe_mbarriers(*b, text);
    }
  fail("%s", text.c_str());
}

// ------------------------------------------------------------------------------------- clusters

uint32_t special_value(Special s, const Warp& w, uint32_t lane) {
  const Machine& m = *w.machine;
  const Dim3 &n = m.launch.block, &g = m.launch.grid, &k = m.launch.cluster, &b = w.block->index;
  const uint32_t t = w.index * 32 + lane;
  switch (s) {
    case Special::tid_x:
      return t % n.x;
    case Special::tid_y:
      return t / n.x % n.y;
    case Special::tid_z:
      return t / (n.x * n.y);
    case Special::ntid_x:
      return n.x;
    case Special::ntid_y:
      return n.y;
    case Special::ntid_z:
      return n.z;
    case Special::ctaid_x:
      return b.x;
    case Special::ctaid_y:
      return b.y;
    case Special::ctaid_z:
      return b.z;
    case Special::nctaid_x:
      return g.x;
    case Special::nctaid_y:
      return g.y;
    case Special::nctaid_z:
      return g.z;
    case Special::laneid:
      return lane;
    case Special::warpid:
      return w.index;
    case Special::nwarpid:
      return uint32_t(w.block->warps.size());
    case Special::smid:
      return w.block->cluster->serial % m.multiprocessors;
    case Special::nsmid:
      return m.multiprocessors;
    case Special::gridid:
      return m.launches;
    case Special::clusterid_x:
      return b.x / k.x;
    case Special::clusterid_y:
      return b.y / k.y;
    case Special::clusterid_z:
      return b.z / k.z;
    case Special::nclusterid_x:
      return g.x / k.x;
    case Special::nclusterid_y:
      return g.y / k.y;
    case Special::nclusterid_z:
      return g.z / k.z;
    case Special::cluster_ctaid_x:
      return b.x % k.x;
    case Special::cluster_ctaid_y:
      return b.y % k.y;
    case Special::cluster_ctaid_z:
      return b.z % k.z;
    case Special::cluster_nctaid_x:
      return k.x;
    case Special::cluster_nctaid_y:
      return k.y;
    case Special::cluster_nctaid_z:
      return k.z;
    case Special::cluster_ctarank:
      return w.block->rank;
    case Special::cluster_nctarank:
      return uint32_t(k.count());
    case Special::is_explicit_cluster:
      return k.count() > 1;
    case Special::lanemask_eq:
      return 1u << lane;
    case Special::lanemask_lt:
      return (1u << lane) - 1;
    case Special::lanemask_le:
      return ((1u << lane) - 1) | 1u << lane;
    case Special::lanemask_gt:
      return ~(((1u << lane) - 1) | 1u << lane);
    case Special::lanemask_ge:
      return ~((1u << lane) - 1);
    case Special::envreg1:
      return uint32_t(grid_workspace() >> 32);
    case Special::envreg2:
      return uint32_t(grid_workspace());
    case Special::dynamic_smem_size:
      return m.launch.dynamic_bytes;
    case Special::total_smem_size:
      return m.launch.dynamic_bytes + w.program->static_shared;
    case Special::dynamic_smem_base:
    case Special::dynamic_smem_base64:
      return w.block->dynamic_base;
  }
  return 0;
}

void start_block(Machine& m, Block& b, uint32_t first_id) {
  const Program& p = *m.launch.program;
  const uint32_t threads = uint32_t(m.launch.block.count());
  b.live = threads;
  // Aligned exactly as declared and no better, so that code that needs more is found out.
  b.dynamic_base = uint32_t(round_up(p.shared_end + 64, 2 * p.dynamic_align) + p.dynamic_align);
  b.dynamic_bytes = m.launch.dynamic_bytes;
  b.objects = p.shared;
  if (b.dynamic_bytes) b.objects.push_back({"dynamic shared memory", b.dynamic_base, b.dynamic_base + b.dynamic_bytes});
  b.shared.assign(round_up(b.dynamic_base + b.dynamic_bytes, 16) + 16, 0xff);  // poison: NaN
  if (p.uses_async_proxy) b.generic_writes.assign(b.shared.size() / 16, 0);
  const size_t file = round_up(p.image.size(), 64);
  const uint32_t warps = (threads + 31) / 32;
  b.registers.resize(file * warps + 64);
  uint8_t* base = b.registers.data();
  base += round_up(reinterpret_cast<uintptr_t>(base), 64) - reinterpret_cast<uintptr_t>(base);
  for (uint32_t k = 0; k < warps; ++k) {
    Warp& w = b.warps.emplace_back();
    w.machine = &m;
    w.block = &b;
    w.program = &p;
    w.index = k;
    w.first_id = first_id + k * 32;
    w.regs = base + k * file;
    const uint32_t lanes = std::min(32u, threads - k * 32);
    w.present = w.live = lanes == 32 ? ~0u : (1u << lanes) - 1;
    w.fragments.push_back({0, w.live, Fragment::Ready, 0});
    memcpy(w.regs, p.image.data(), p.image.size());
    w.local.assign(size_t(p.local_bytes) * 32, 0xff);
  }
  for (Warp& w : b.warps)
    for (auto [special, slot] : p.specials)
      for (uint32_t l = 0; l < 32; ++l) {
        if (special == Special::dynamic_smem_base64)
          w.reg<uint64_t>(slot)[l] = b.dynamic_base;
        else
          w.reg<uint32_t>(slot)[l] = special_value(special, w, l);
      }
}

std::unique_ptr<Cluster> start_cluster(Machine& m, uint64_t number, uint32_t slot) {
  static uint32_t serial = 0;
  const Launch& l = m.launch;
  const uint32_t nx = l.grid.x / l.cluster.x, ny = l.grid.y / l.cluster.y, blocks = uint32_t(l.cluster.count());
  auto c = std::make_unique<Cluster>();
  c->serial = ++serial;
  c->live = blocks * uint32_t(l.block.count());
  c->slot = slot;
  for (uint32_t r = 0; r < blocks; ++r) {
    auto b = std::make_unique<Block>();
    b->machine = &m;
    b->cluster = c.get();
    b->rank = r;
    b->index = {uint32_t(number % nx) * l.cluster.x + r % l.cluster.x,
                uint32_t(number / nx % ny) * l.cluster.y + r / l.cluster.x % l.cluster.y,
                uint32_t(number / nx / ny) * l.cluster.z + r / (l.cluster.x * l.cluster.y)};
    start_block(m, *b, r * uint32_t(round_up(l.block.count(), 32)));
    c->blocks.push_back(std::move(b));
  }
  uint64_t n = number << 16;
  for (auto& b : c->blocks)
    for (Warp& w : b->warps) {
      ++n;
      w.priority = m.options.seed == 0 ? ~n : m.options.seed == 1 ? n : m.random();
    }
  if (m.options.race) race::begin_cluster(m, *c);
  return c;
}

Warp* choose_warp(Machine& m) {
  Warp* best = nullptr;
  for (auto& c : m.clusters)
    for (auto& b : c->blocks)
      for (Warp& w : b->warps)
        if (w.live && runnable(w) && (!best || w.priority > best->priority)) best = &w;
  return best;
}

void finish_cluster(Machine& m, Cluster& c) {
  while (std::any_of(m.engine.begin(), m.engine.end(), [&](const AsyncOp& o) { return o.cluster == &c; })) run_async_op(m);
  for (auto& b : c.blocks) {
    for (size_t k = 0; k < b->warps.size(); ++k)
      if (b->warps[k].wgmma_count != b->warps[k & ~size_t(3)].wgmma_count)
        fail("the warps of a warpgroup issued different numbers of wgmma");
    check_mbarriers_at_exit(*b);
  }
}

void run_resident(Machine& m) {
  uint64_t spins = 0;
  while (!m.clusters.empty() && std::any_of(m.clusters.begin(), m.clusters.end(), [](auto& c) { return c->live; })) {
    if (!m.engine.empty() && m.async == Async::Random && m.random() % 16 == 0) run_async_op(m);
    Warp* w = choose_warp(m);
    if (!w) {
      if (m.engine.empty()) report_deadlock(m);
      run_async_op(m);
      continue;
    }
    const uint64_t progress = m.progress;
    try {
      run_warp(m, *w, m.options.seed < 2 ? 4096 : 1 + uint32_t(m.random() % 200), spins > 64);
    } catch (const Error& e) {
      throw Error(e.what() + context(*w));
    }
    if (m.options.seed > 1 && m.random() % 4 == 0) w->priority = m.random() >> 1 | 1ull << 63;
    if (w->yielded) w->priority = --m.lowest_priority;  // a spinning warp lets the others run
    spins = m.progress == progress && w->yielded ? spins + 1 : 0;
    if (spins > m.options.spin_limit / (m.options.seed < 2 ? 4096 : 100)) {
      if (!m.engine.empty())
        run_async_op(m), spins = 0;
      else
        throw Error("livelock: the runnable threads spin without writing anything" + context(*w));
    }
    for (auto& c : m.clusters)
      if (!c->live) return;
  }
}

}  // namespace

void run(Machine& m, const Launch& launch) {
  m.launch = launch;
  m.profile = {};
  ++m.launches;
  m.clusters.clear();
  m.engine.clear();
  m.lowest_priority = 1ull << 40;
  m.random.seed(m.options.seed * 0x9e3779b97f4a7c15ull + m.launches);
  m.async = m.options.seed == 0 ? Async::Late : m.options.seed == 1 ? Async::Early : Async::Random;
  for (const Instr& i : launch.program->code) i.cache = nullptr;
  if (m.options.race) race::begin_launch(m);
  reset_grid_workspace();

  const uint64_t total = launch.grid.count() / launch.cluster.count();
  std::vector<uint64_t> order(total);
  for (uint64_t k = 0; k < total; ++k) order[k] = m.options.seed == 1 ? total - 1 - k : k;
  if (m.options.seed > 1) std::shuffle(order.begin(), order.end(), m.random);

  size_t next = 0;
  try {
    while (next < total || !m.clusters.empty()) {
      while (next < total && m.clusters.size() < m.options.resident)
        m.clusters.push_back(start_cluster(m, order[next++], uint32_t(m.clusters.size())));
      run_resident(m);
      for (size_t k = m.clusters.size(); k-- > 0;)
        if (!m.clusters[k]->live) {
          finish_cluster(m, *m.clusters[k]);
          m.clusters.erase(m.clusters.begin() + long(k));
        }
    }
  } catch (...) {
    m.engine.clear();
    m.clusters.clear();
    throw;
  }
}

}  // namespace sim
