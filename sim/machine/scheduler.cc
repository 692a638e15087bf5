// Runs a grid: which warp goes next, divergence, asynchronous work, livelock.
//
// By default the fragment with the lowest program counter runs first, which reconverges structured code as the compiler intended; odd
// seeds run the other side of a branch first.
#include <algorithm>
#include <cstdlib>
#include <thread>
#include <unordered_set>

#include "sim/machine/machine.h"
#include "sim/machine/tensor.h"
#include "sim/ops/system.h"

namespace sim {

Options Options::from_environment() {
  Options o;
  auto number = [](const char* name, uint64_t otherwise) {
    const char* s = getenv(name);
    return s && *s ? strtoull(s, nullptr, 0) : otherwise;
  };
  o.seed = number("SIM_SEED", 0);
  o.race = number("SIM_RACE", 0) != 0;
  o.init = number("SIM_INIT", 0) != 0;
  o.strict = number("SIM_STRICT", 0) != 0;
  const char* profile = getenv("SIM_PROFILE");
  o.profile = profile && *profile && *profile != '0';
  o.trace = number("SIM_TRACE", 0) != 0;
  o.threads = uint32_t(std::clamp<uint64_t>(number("SIM_THREADS", std::clamp(std::thread::hardware_concurrency(), 1u, 4u)), 1, 64));
  o.resident = uint32_t(std::max<uint64_t>(1, number("SIM_RESIDENT", o.resident)));
  o.last = number("SIM_LAST", 0);
  o.spin_limit = number("SIM_SPIN_LIMIT", o.spin_limit);
  return o;
}

uint64_t cluster_seed(const Machine& m, uint64_t cluster) {
  Random r{m.options.seed};
  r.state = r() + m.launches;
  r.state = r() + cluster;
  return r();
}

// ------------------------------------------------------------------------------ asynchronous work

void Machine::defer(Warp& issuer, int lane, std::function<void()> op, const std::function<void()>& poison) {
  ++progress;
  if (lands_early()) return op();
  poison();
  engine.push_back({issuer.block->cluster, &issuer, lane, issuer.pc, std::move(op)});
}

void run_async_op(Machine& m) {
  const size_t k = m.options.seed < 2 ? 0 : m.random() % m.engine.size();
  AsyncOp op = std::move(m.engine[k]);
  m.engine.erase(m.engine.begin() + long(k));
  try {
    op.run();
  } catch (const Error& e) {
    op.issuer->pc = op.pc;
    op.issuer->fault_lane = op.lane;
    throw Error(e.what() + context(*op.issuer));
  }
}

namespace {

// ----------------------------------------------------------------------------------- one warp

bool runnable(const Warp& w) {
  for (const Fragment& f : w.fragments)
    if (f.state == Fragment::Ready) return true;
  return false;
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

// A fragment that spins on what another one of its warp must do makes room for it.
constexpr uint32_t kFragmentTurn = 4096;

size_t next_fragment(const Warp& w) {
  size_t k = w.current;
  do k = (k + 1) % w.fragments.size();
  while (w.fragments[k].state != Fragment::Ready);
  return k;
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

// Executes one instruction for the lanes of the current fragment.
inline void step(Machine& m, Warp& w, const Instr& i, uint32_t pc, uint32_t lanes) {
  if (i.guard != kNone) lanes &= i.guard_negated ? ~w.pred(i.guard) : w.pred(i.guard);
  w.pc = pc;
  w.next = pc + 1;
  if (!lanes) return;
  w.mask = lanes;
  ++m.profile.warp_instructions;
  ++m.profile.pipes[i.pipe];
  m.profile.thread_instructions += uint64_t(__builtin_popcount(lanes));
  if (m.options.trace) trace(w, i);
  i.run(w, i);
}

// Returns the number of instructions.
uint32_t run_warp(Machine& m, Warp& w, uint32_t quantum, bool fair) {
  const Instr* code = w.program->code.data();
  const uint64_t progress = m.progress;
  if (w.favoured >= kFragmentTurn) {
    w.current = next_fragment(w);
    w.favoured = 0;
    fair = true;
  } else {
    w.current = choose_fragment(m, w);
  }
  w.yielded = w.changed = false;
  if (w.fragments.size() > 1) reconverge(m, w, true);  // the fragment may have stopped just where others wait for it
  const uint32_t all = quantum;
  while (quantum) {
    uint32_t pc = w.fragments[w.current].pc;
    const uint32_t lanes = w.fragments[w.current].mask;
    if (w.fragments.size() == 1) {
      // One fragment: it runs on until it waits, diverges, ends or yields.
      do {
        step(m, w, code[pc], pc, lanes);
        pc = w.next;
      } while (--quantum && !w.changed && !w.yielded);
    } else {
      step(m, w, code[pc], pc, lanes);
      --quantum;
    }
    w.changed = false;
    Fragment& f = w.fragments[w.current];
    f.pc = w.next;
    if (!f.mask) {
      w.fragments.erase(w.fragments.begin() + long(w.current));
      break;
    }
    if (f.state != Fragment::Ready || w.yielded) break;
    if (w.fragments.size() > 1 && reconverge(m, w, fair)) w.current = choose_fragment(m, w);
  }
  if (!quantum) w.yielded = true;
  w.favoured = w.fragments.size() > 1 && m.progress == progress ? w.favoured + all - quantum : 0;
  w.block->executed += all - quantum;
  return all - quantum;
}

// ------------------------------------------------------------------------------------ all warps

Warp* choose_warp(Machine& m) {
  Warp* best = nullptr;
  for (auto& c : m.clusters)
    for (auto& b : c->blocks)
      for (Warp& w : b->warps)
        if (w.live && (!best || w.priority > best->priority) && runnable(w)) best = &w;
  return best;
}

// After so many warp instructions a block makes room for the others, and its own warps that waited longest come first: a grid barrier
// spins until all resident blocks have arrived.
constexpr uint64_t kTurn = 20'000;

void make_room(Machine& m, Block& b) {
  b.executed = 0;
  std::vector<Warp*> order;
  for (Warp& w : b.warps) order.push_back(&w);
  std::stable_sort(order.begin(), order.end(), [](const Warp* x, const Warp* y) { return x->last_run < y->last_run; });
  for (Warp* w : order) w->priority = --m.lowest_priority;
}

// Finds threads that spin for ever: nothing was written for long, and the states in which warps are left begin to repeat. A loop that
// only computes has a counter, so its states differ.
class Watch {
 public:
  bool suspicious(const Machine& m) const { return idle_ > m.options.spin_limit / 8; }
  bool spinning(const Machine& m, const Warp& w, uint32_t executed, bool progress) {
    if (progress) {
      if (idle_ > m.options.spin_limit) seen_.clear();
      idle_ = repeats_ = 0;
      return false;
    }
    idle_ += executed;
    if (idle_ <= m.options.spin_limit) return false;
    repeats_ = seen_.insert(state_of(w)).second ? 0 : repeats_ + 1;
    uint64_t warps = 0;
    for (auto& c : m.clusters)
      for (auto& b : c->blocks) warps += b->warps.size();
    if (repeats_ < 1000 + 64 * warps) return false;  // everybody has had a turn
    seen_.clear();
    idle_ = repeats_ = 0;
    return true;
  }

  // Whether all that can run do nothing but look, turn after turn, whether something has happened: what is in flight must then land, as it
  // would on a device, however late copies are to be.
  bool only_looking(const Machine& m, const Warp& w, uint32_t executed, bool progress) {
    constexpr uint32_t kLook = 64;  // instructions
    looks_ = !progress && w.yielded && executed < kLook ? looks_ + 1 : 0;
    uint64_t warps = 0;
    for (auto& c : m.clusters)
      for (auto& b : c->blocks) warps += b->warps.size();
    if (looks_ < 2 * warps) return false;
    looks_ = 0;
    return true;
  }

 private:
  static uint64_t state_of(const Warp& w) {
    uint64_t h = uint64_t(w.index) << 32 | w.block->cluster->number;
    auto mix = [&](uint64_t v) { h = (h ^ v) * 0x9e3779b97f4a7c15ull, h ^= h >> 29; };
    for (const Fragment& f : w.fragments) mix(uint64_t(f.pc) << 32 | f.mask);
    for (size_t k = 0; k + 8 <= w.program->image.size(); k += 8) {
      uint64_t v;
      memcpy(&v, w.regs + k, 8);
      mix(v);
    }
    return h;
  }
  uint64_t idle_ = 0, repeats_ = 0, looks_ = 0;
  std::unordered_set<uint64_t> seen_;
};

// Clusters that have ended make room for new ones.
bool retire(Machine& m) {
  bool any = false;
  for (size_t k = m.clusters.size(); k-- > 0;)
    if (!m.clusters[k]->live) {
      finish_cluster(m, *m.clusters[k]);
      m.clusters.erase(m.clusters.begin() + long(k));
      any = true;
    }
  return any;
}

}  // namespace

bool run_resident(Machine& m, bool more) {
  Watch watch;
  const bool random = m.options.seed > 1;
  do {
    if (!m.engine.empty() && m.async == Async::Random && m.random() % 16 == 0) run_async_op(m);
    Warp* w = choose_warp(m);
    if (!w) {
      if (m.engine.empty()) report_deadlock(m);
      run_async_op(m);
      continue;
    }
    const uint64_t progress = m.progress;
    uint32_t executed = 0;
    w->last_run = ++m.rounds;
    try {
      executed = run_warp(m, *w, random ? 1 + uint32_t(m.random() % 200) : 4096, watch.suspicious(m));
    } catch (const Error& e) {
      throw Error(e.what() + context(*w));
    }
    if (random && m.random() % 4 == 0) w->priority = m.random() >> 1 | 1ull << 63;
    if (w->yielded) w->priority = --m.lowest_priority;  // a spinning warp lets the others run
    if (w->block->executed >= kTurn) make_room(m, *w->block);
    if (!m.engine.empty() && watch.only_looking(m, *w, executed, m.progress != progress)) run_async_op(m);
    if (watch.spinning(m, *w, executed, m.progress != progress)) {
      if (m.engine.empty() && more) return false;
      if (m.engine.empty()) throw Error("livelock: the runnable threads repeat the same steps and change nothing" + context(*w));
      run_async_op(m);
    }
  } while (!retire(m));
  return true;
}

void run(Machine& m, const Launch& launch) {
  m.launch = launch;
  m.profile = {};
  ++m.launches;
  m.clusters.clear();
  m.engine.clear();
  m.lowest_priority = 1ull << 40;
  m.random.seed(cluster_seed(m, ~0ull));
  m.async = m.options.seed == 0 ? Async::Late : m.options.seed == 1 ? Async::Early : Async::Random;
  m.caches.assign(launch.program->code.size(), {});
  if (m.options.race) race::begin_launch(m);
  reset_grid_workspace();

  const uint64_t all = launch.grid.count() / launch.cluster.count();
  const uint64_t total = m.options.last ? std::min(all, m.options.last) : all;
  std::vector<uint64_t> order(total);
  for (uint64_t k = 0; k < total; ++k) order[k] = m.options.seed == 1 ? all - 1 - k : all - total + k;
  if (m.options.seed > 1) std::shuffle(order.begin(), order.end(), m.random);

  try {
    if (!run_in_parallel(m, order)) {
      uint64_t resident = launch.cooperative ? total : m.options.resident;
      for (size_t next = 0; next < total || !m.clusters.empty();) {
        while (next < total && m.clusters.size() < resident) start_cluster(m, order[next++]);
        if (run_resident(m, next < total)) continue;
        // Blocks that wait for lower ones (a decoupled look-back) rely on devices' starting them in order.
        std::sort(order.begin() + long(next), order.end());
        resident = 2 * m.clusters.size();
      }
    }
  } catch (...) {
    m.engine.clear();
    m.clusters.clear();
    m.first_serial += uint32_t(all);
    throw;
  }
  m.first_serial += uint32_t(all);
}

}  // namespace sim
