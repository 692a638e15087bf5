// Data-race detector for shared and global memory: vector clocks per thread.
//
// bar.sync, bar.warp.sync, mbarriers, cluster barriers and async-group waits order accesses; shuffles,
// votes, mma and ldmatrix do not (8. Memory Consistency Model). Through memory, a release (or a fence
// before a strong access) orders with the strong access that finds it there. Scopes are not told apart.
#pragma once

#include <map>
#include <memory>
#include <vector>

#include "sim/ptx/common.h"

namespace sim {

struct Warp;
struct Block;
struct Cluster;
struct Machine;
struct Instr;
struct Allocation;

namespace race {

using Times = std::vector<uint32_t>;

// What happened before: of the own cluster, the time of every thread and agent (the first half), and up to which time its ordinary
// writes lie before a fence.proxy.async (the second half); of other clusters, the same as far as known.
struct Clock {
  Times times;
  std::map<uint32_t, std::shared_ptr<const Times>> past;  // by Cluster::serial
};

// A thread's vector clock: shared history plus its own time.
struct ThreadClock {
  std::shared_ptr<const Clock> base;
  uint32_t own = 0;
  std::shared_ptr<const Clock> fenced;   // the history at the last fence / membar
  uint32_t fence_time = 0;               // 0: none yet
  std::vector<const uint8_t*> observed;  // strong reads that a later fence makes an acquire (strict mode)
};

struct Sync {                                        // what a release leaves for an acquire
  std::vector<std::shared_ptr<const Clock>> bases;   // distinct
  std::vector<std::pair<uint32_t, uint32_t>> times;  // thread, time
  std::shared_ptr<const Clock> joined;               // cache
  void clear() { bases.clear(), times.clear(), joined.reset(); }
};

struct Epoch {
  uint32_t cluster = 0;  // serial of the accessing cluster; 0: never accessed
  uint32_t thread : 16 = 0, kind : 8 = 0;
  uint32_t time = 0;
  uint32_t site = 0;  // index in Program::code
  uint32_t step = 0;  // which execution of an instruction by a warp
};
struct Accesses {  // of lanes of one warp at one time
  uint32_t cluster = 0;
  uint32_t warp : 16 = 0, kind : 8 = 0;
  uint32_t lanes = 0, time = 0, site = 0;
};
struct Cell {
  Epoch write;
  Accesses first;     // a read (or an atomic write) since
  uint32_t more = 0;  // index in Shadow::more
};
struct Shadow {
  uint32_t granule = 0;  // bytes per cell: 1 for kernels that store bytes, else 2; 0: no cells yet
  std::vector<Cell> cells;
  std::vector<std::vector<Accesses>> more;  // of cells that several warps read
  std::vector<uint32_t> unused;
};

struct Agent {  // one operation of the async engine; ordered after its issuer's past
  Cluster* cluster;
  uint32_t id, time;
  std::shared_ptr<const Clock> base;
  uint32_t issuer, issuer_time;
  const Instr* site;
};

void begin_launch(Machine& m);
void begin_cluster(Machine& m, Cluster& c);
void release(Warp& w, uint32_t lanes, Sync& into);
void acquire(Warp& w, uint32_t lanes, Sync& from);
void fence(Warp& w, uint32_t lanes);
void proxy_fence(Warp& w, uint32_t lanes);
void shared_access(Warp& w, int lane, Block& b, uint32_t offset, uint32_t bytes, int kind);
void global_access(Warp& w, int lane, Allocation& a, uint64_t address, uint64_t bytes, int kind);
// A strong access at p (its value is synchronisation).
void atomic_order(Warp& w, int lane, const uint8_t* p, bool reads, bool acquires, bool releases);

Agent begin_agent(Warp& issuer, int lane, const Instr& site);
void agent_shared(const Agent& a, Block& b, uint32_t offset, uint32_t bytes, int kind);
void agent_global(const Agent& a, Allocation& al, uint64_t address, uint64_t bytes, int kind);
void finish_agent(const Agent& a, Sync& into);
void finish_agent(const Agent& a, Warp& w, int lane);  // the thread itself waited (bulk groups)

}  // namespace race
}  // namespace sim
