// What a launch cost, counted while it runs.
#pragma once

#include <cstdint>
#include <string>

namespace sim {

// Where an instruction executes on the device. Counted on the PTX: ptxas may fuse or split instructions.
enum class Pipe : uint8_t {
  alu,       // integers, logic, comparisons, conversions, moves
  fma,       // f32, f16 and bf16 arithmetic, integer multiplication
  fp64,      // double precision
  mufu,      // approximate functions
  tensor,    // mma, wgmma
  shared,    // shared memory, ldmatrix, stmatrix, cp.async's destination is counted with global
  global,    // global and generic memory, atomics, cp.async
  local,     // local memory and parameters
  exchange,  // shuffles, votes, matches, reductions over a warp
  sync,      // barriers, fences, mbarriers, waits
  bulk,      // TMA
  control,   // branches and the rest
};
constexpr int kPipes = 12;
extern const char* const kPipeNames[kPipes];

struct SharedTraffic {
  uint64_t requests = 0;   // wavefronts without conflicts
  uint64_t conflicts = 0;  // extra wavefronts because of bank conflicts
};
struct GlobalTraffic {
  uint64_t requests = 0, bytes = 0;
  uint64_t sectors = 0;        // of 32 bytes, touched by the requests
  uint64_t ideal_sectors = 0;  // the same bytes side by side
};

struct Profile {
  uint64_t warp_instructions = 0, thread_instructions = 0;
  uint64_t pipes[kPipes] = {};  // warp instructions
  uint64_t divergent_branches = 0;
  uint64_t mma_flops = 0;
  // The rest is counted only when profiling.
  uint64_t useful_mma_flops = 0;                    // both factors are not zero
  GlobalTraffic load, store;                        // cp.async among the loads
  uint64_t atomic_requests = 0, atomics = 0;        // of warps and of threads, on global memory
  uint64_t bulk_bytes = 0;                          // TMA
  SharedTraffic shared_load, shared_store, matrix;  // matrix: ldmatrix and stmatrix

  void add(const Profile& other);
};

struct LaunchRecord {
  std::string kernel;
  uint32_t grid[3], block[3], cluster[3];
  uint32_t dynamic_shared = 0, static_shared = 0;
  double milliseconds = 0;  // of the simulator
  Profile profile;
};
std::string one_line(const LaunchRecord& r);
std::string to_json(const LaunchRecord& r);

}  // namespace sim
