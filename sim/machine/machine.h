// State of the simulated machine while a grid runs.
#pragma once

#include <deque>
#include <functional>
#include <unordered_map>

#include "sim/machine/memory.h"
#include "sim/machine/profile.h"
#include "sim/machine/race.h"
#include "sim/ptx/program.h"

namespace sim {

struct Machine;
struct Block;
struct Cluster;

struct Dim3 {
  uint32_t x = 1, y = 1, z = 1;
  uint64_t count() const { return uint64_t(x) * y * z; }
};

// When asynchronous work takes effect.
enum class Async : uint8_t { Late, Early, Random };

// splitmix64: a stream per cluster costs nothing to start.
struct Random {
  using result_type = uint64_t;
  uint64_t state = 0;
  static constexpr uint64_t min() { return 0; }
  static constexpr uint64_t max() { return ~0ull; }
  void seed(uint64_t s) { state = s; }
  uint64_t operator()() {
    uint64_t z = state += 0x9e3779b97f4a7c15ull;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ z >> 27) * 0x94d049bb133111ebull;
    return z ^ z >> 31;
  }
};

// Lanes of a warp that share a program counter.
struct Fragment {
  enum State : uint8_t { Ready, Converge, Barrier, MBarrier, ClusterBarrier };
  uint32_t pc, mask;
  State state = Ready;
  uint64_t key = 0;  // which barrier
};

struct CpAsync {      // one warp-wide non-bulk cp.async (9.7.9)
  uint32_t pending;   // lanes whose copy has not landed
  uint32_t unwaited;  // lanes that have not waited for it
  uint32_t bytes;     // written to shared memory
  uint32_t group[32];
  uint32_t source_bytes[32];  // read from global memory; the rest is zero
  uint8_t *dst[32], *src[32];
  const Instr* instr;
};

struct BulkStore {  // cp.async.bulk shared -> global, reads shared memory until waited for
  int lane;
  uint32_t group, pc;
  bool done = false;
  std::function<void()> copy;
};

struct Wgmma;      // sim/ops/wgmma.cc
struct CallStack;  // sim/ops/call.cc

struct Warp {
  Machine* machine = nullptr;
  Block* block = nullptr;
  const Program* program = nullptr;
  uint8_t* regs = nullptr;
  uint32_t index = 0;     // in the block
  uint32_t first_id = 0;  // race-detector number of lane 0
  uint32_t present = 0, live = 0;
  uint32_t mask = 0;  // lanes executing the current instruction
  uint32_t pc = 0, next = 0;
  std::vector<Fragment> fragments;
  size_t current = 0;
  uint64_t priority = 0, last_run = 0;
  uint32_t favoured = 0;  // instructions that one fragment has executed without progress while others were there
  bool yielded = false;
  bool changed = false;              // the fragments: set by everything that touches them
  int fault_lane = -1;               // for error messages
  std::shared_ptr<CallStack> calls;  // null until a function is called

  std::vector<uint8_t> local;  // 32 lanes of local memory
  uint32_t cp_group[32] = {}, bulk_group[32] = {};
  std::vector<CpAsync> cp;
  std::vector<BulkStore> bulk;
  uint64_t cluster_arrived = 0;    // phase of the cluster barrier to wait for, 0: not arrived
  uint32_t mbarrier_unfenced = 0;  // lanes with mbarrier.init not yet followed by a fence

  bool wgmma_fenced = false;
  uint32_t wgmma_group = 0;
  uint64_t wgmma_count = 0;
  std::vector<Wgmma> wgmma;
  std::unordered_map<uint32_t, std::vector<double>> wgmma_accumulators;  // first register -> true values

  uint64_t proxy_fenced[32] = {}, acquired[32] = {};  // Machine::events at the last fence.proxy.async, at the last synchronisation
  const uint8_t* stored = nullptr;                    // what the lanes of a store are about to write
  std::unique_ptr<race::ThreadClock[]> clock;         // with the race detector only

  Warp();
  ~Warp();
  Warp(const Warp&) = delete;

  template <class T>
  T* reg(uint32_t offset) {
    return reinterpret_cast<T*>(regs + offset);
  }
  uint32_t& pred(uint32_t offset) { return *reinterpret_cast<uint32_t*>(regs + offset); }

  // Blocks the executing lanes; `again` re-executes the instruction when they wake.
  void wait(Fragment::State state, uint64_t key, bool again);
  // True when every live lane of `needed` executes this instruction now; otherwise the executing
  // lanes wait here for the others.
  bool converged(uint32_t needed);
  void exit_lanes(uint32_t lanes);
  void branch(uint32_t target);  // lanes in `mask` go to target, the fragment's others fall through
  [[noreturn, gnu::format(printf, 3, 4)]] void fault(int lane, const char* format, ...);
};

struct NamedBarrier {                  // bar.sync a
  uint32_t arrived = 0, expected = 0;  // expected: thread count given, 0 for the whole block
  race::Sync sync;
  uint32_t popc = 0, voters = 0;  // bar.red
  struct Result {
    Warp* warp;
    uint32_t mask;
    const Instr* instr;
  };
  std::vector<Result> results;
};

struct MBarrierSync {
  race::Sync arriving, completed;
};

struct Block {
  Machine* machine = nullptr;
  Cluster* cluster = nullptr;
  Dim3 index;
  uint32_t rank = 0;  // in the cluster
  uint32_t live = 0;  // threads
  std::vector<uint8_t> shared;
  std::vector<uint64_t> generic_writes;  // per 16 bytes: who wrote last by ordinary stores, and when; for proxy checks
  std::vector<uint8_t> unwaited_copies;  // per 4 bytes: cp.async issued and not yet waited for
  std::vector<uint8_t> initialised;      // per byte, with SIM_INIT only
  uint64_t executed = 0;                 // warp instructions since it last made room for other blocks
  std::vector<SharedObject> objects;
  uint32_t dynamic_base = 0, dynamic_bytes = 0;
  NamedBarrier barriers[16];
  std::unordered_map<uint32_t, MBarrierSync> mbarriers;  // by offset
  std::deque<Warp> warps;
  std::vector<uint8_t> registers;
  race::Shadow shadow;
};

struct Cluster {
  Dim3 index;
  uint64_t number = 0;  // in the grid
  uint32_t serial = 0;  // unique over launches
  std::vector<std::unique_ptr<Block>> blocks;
  uint32_t live = 0, arrived = 0;  // threads
  uint64_t phase = 0;
  race::Sync sync, released;
  uint64_t fence_reach = 0;  // writes before this time lie before some thread's fence.proxy.async
};

struct AsyncOp {  // work of the asynchronous engine (TMA)
  Cluster* cluster;
  Warp* issuer;
  int lane;
  uint32_t pc;
  std::function<void()> run;
};

struct Launch {
  const Program* program = nullptr;
  Dim3 grid, block, cluster;
  uint32_t dynamic_bytes = 0;
  uint32_t reserved_shared = 1024;  // bytes at the start of shared memory that the system keeps; 0 before sm_90
  bool cooperative = false;         // all blocks run at the same time
};

struct Options {
  uint64_t seed = 0;  // 0: in order, late; 1: reverse order, early; else random
  bool race = false, init = false, strict = false, profile = false, trace = false;
  uint32_t threads = 1;           // of the host, for launches whose clusters are independent
  uint32_t resident = 2;          // clusters that run at the same time
  uint64_t last = 0;              // of larger grids only so many clusters start, the last ones; 0: all
  uint64_t spin_limit = 200'000;  // warp instructions without a change of memory, after which a livelock is looked for
  static Options from_environment();
};

// What an instruction accessed last, so that most accesses need no search.
struct AccessCache {
  Allocation* global = nullptr;
  uint32_t shared = 0;  // index in Block::objects + 1
};

// Executes clusters. A launch whose clusters are independent has one machine per thread of the host.
struct Machine {
  Options options;
  Async async = Async::Late;
  Random random;
  Launch launch;
  std::vector<std::unique_ptr<Cluster>> clusters;
  std::vector<AsyncOp> engine;
  std::vector<AccessCache> caches;  // by instruction
  Profile profile;
  uint64_t lowest_priority = 0;
  uint32_t launches = 0, first_serial = 0;
  int device = 0;      // which simulated card this is
  uint64_t peers = 0;  // cards whose memory it may use, a bit each
  uint32_t multiprocessors = 4;
  uint64_t progress = 0;  // counts stores and synchronisation, to tell spinning from work
  uint64_t events = 0;    // time for proxy checks
  uint64_t rounds = 0;    // of the scheduler
  std::vector<std::unique_ptr<Machine>> workers;
  std::vector<std::unique_ptr<Block>> spare;  // finished blocks, whose memory the next ones use

  bool lands_early() { return async == Async::Early || (async == Async::Random && (random() & 1)); }
  // Runs `op` of a lane now, late or at a random time; calls `poison` if it is not now.
  void defer(Warp& issuer, int lane, std::function<void()> op, const std::function<void()>& poison);
  void wake(Cluster* c, Fragment::State state, uint64_t key);
  void wake_block(Block& b, Fragment::State state, uint64_t key);
};

void run(Machine& m, const Launch& launch);  // throws Error
std::string context(const Warp& w);          // "kernel ... block ... line"

inline Block* block_of(Cluster& c, uint32_t rank) { return rank < c.blocks.size() ? c.blocks[rank].get() : nullptr; }

// Synchronisation as the race detector and the proxy checks see it.
void order_release(Warp& w, uint32_t lanes, race::Sync& into);
void order_acquire(Warp& w, uint32_t lanes, race::Sync& from);
void order_exchange(Warp& w, uint32_t lanes);  // a barrier among these lanes
void proxy_fence(Warp& w, uint32_t lanes);     // fence.proxy.async

uint32_t special_value(Special s, const Warp& w, uint32_t lane);  // sim/machine/special.cc
std::string shared_name(const Block& b, uint32_t offset);         // "shared 'tile' + 16"

// sim/machine/cluster.cc
void start_cluster(Machine& m, uint64_t number);
void finish_cluster(Machine& m, Cluster& c);

// sim/machine/scheduler.cc
// Until a cluster has finished, or, if `more` are to come, until all that are there wait for one of them: then false.
bool run_resident(Machine& m, bool more);
void run_async_op(Machine& m);
uint64_t cluster_seed(const Machine& m, uint64_t cluster);
bool run_in_parallel(Machine& m, const std::vector<uint64_t>& order);  // sim/machine/parallel.cc; false: not possible
[[noreturn]] void report_deadlock(Machine& m);                         // sim/machine/report.cc

void barrier_arrive(Warp& w, uint32_t id, uint32_t count, bool wait);
void finish_reduction(NamedBarrier& n);            // sim/ops/control.cc
void cluster_barrier_update(Cluster& c);           // completes it when all live threads arrived
void thread_exit_checks(Warp& w, uint32_t lanes);  // sim/ops/async.cc

}  // namespace sim
