// Data-race detector for shared and global memory: vector clocks per thread.
//
// bar.sync, bar.warp.sync, mbarriers, cluster barriers and async-group waits order accesses; shuffles,
// votes, mma and ldmatrix do not (8. Memory Consistency Model).  Clusters of one launch are ordered
// only by a fence (or .release) followed by an atomic that the other cluster then reads.
#pragma once

#include <memory>
#include <set>
#include <unordered_map>
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

using Clock = std::vector<uint32_t>;

// A thread's vector clock: shared history plus its own time.
struct ThreadClock {
  std::shared_ptr<const Clock> base;
  uint32_t own = 0;
  bool fenced = false;  // has executed fence / membar
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
  const Instr* site = nullptr;
};

struct Cell {
  Epoch write, reads[2];
};
struct Shadow {
  std::vector<Cell> cells;
};
constexpr uint32_t kGranule = 2;  // bytes per cell: neighbouring bytes count as one object

using Past = std::set<uint32_t>;  // clusters of this launch that are ordered before

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
void exchange(Warp& w, uint32_t lanes);  // bar.warp.sync: a barrier among these lanes
void fence(Warp& w, uint32_t lanes);
void shared_access(Warp& w, int lane, Block& b, uint32_t offset, uint32_t bytes, int kind);
void global_access(Warp& w, int lane, Allocation& a, uint64_t address, uint64_t bytes, int kind);
void atomic_order(Warp& w, int lane, const uint8_t* p, bool acquires, bool releases);

Agent begin_agent(Warp& issuer, int lane, const Instr& site);
void agent_shared(const Agent& a, Block& b, uint32_t offset, uint32_t bytes, int kind);
void agent_global(const Agent& a, Allocation& al, uint64_t address, uint64_t bytes, int kind);
void finish_agent(const Agent& a, Sync& into);
void finish_agent(const Agent& a, Warp& w, int lane);  // the thread itself waited (bulk groups)

}  // namespace race
}  // namespace sim
