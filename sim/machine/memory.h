// Device memory: allocations, shared and local windows, address checks.
#pragma once

#include <deque>
#include <map>
#include <memory>

#include "sim/machine/race.h"
#include "sim/ptx/program.h"

namespace sim {

struct Block;
struct SharedTraffic;

enum Access : uint8_t {
  Read = 0,
  Write = 1,
  Atomic = 2,
  AsyncProxy = 4,
  Landing = 8,  // by a cp.async
  Update = 16,  // a write that reads
};

struct Allocation {
  uint64_t begin = 0, end = 0;
  enum Kind : uint8_t { Device, Host, Module, Params } kind = Device;
  bool live = true;
  int device = -1;       // the owner; -1: every device may use it
  void* base = nullptr;  // what to free
  size_t mapped = 0;     // bytes from base on that are mappings; 0: from the heap
  race::Shadow shadow;
  std::vector<uint8_t> initialised;  // per byte, for device memory allocated while GlobalMemory::track is on
};

// Everything a kernel may reach by a global address.  Device addresses are host addresses.
class GlobalMemory {
 public:
  uint64_t allocate(size_t bytes, Allocation::Kind kind);
  void adopt(void* p, size_t bytes, Allocation::Kind kind);  // memory owned by the caller
  bool release(uint64_t address);                            // false: not the start of a live allocation
  Allocation* find(uint64_t address);                        // also freed ones; null: never allocated
  std::string describe(uint64_t address, uint64_t bytes);
  // Which bytes of device memory have been written (SIM_INIT).
  void track(bool on) { track_ = on; }                      // for later allocations
  void host_write(const void* p, uint64_t bytes);           // by a copy from the host or a memset
  void copied(void* to, const void* from, uint64_t bytes);  // what was never written stays so in the copy
  uint64_t used() const { return used_; }

 private:
  std::map<uint64_t, std::unique_ptr<Allocation>> by_begin_;
  std::deque<Allocation*> freed_;  // kept for a while, so that use after free is seen
  uint64_t used_ = 0, freed_bytes_ = 0;
  bool track_ = false;
};
GlobalMemory& global_memory();

// Host pointers for the addresses of the lanes in w.mask, checked for alignment, extent and races.
void resolve(Warp& w, const Instr& i, ptx::Space space, const uint64_t* address, uint32_t bytes, int access, uint8_t** out);

// The same for one lane.  `align` may exceed `bytes`.
void check_extent(Warp& w, int lane, uint64_t address, uint64_t bytes, int access);  // no race check
uint8_t* global_pointer(Warp& w, int lane, uint64_t address, uint64_t bytes, uint32_t align, int access);

struct SharedPlace {
  Block* block;
  uint32_t offset;
  uint8_t* data() const;
};
SharedPlace shared_place(Warp& w, int lane, uint64_t address, uint32_t bytes, uint32_t align);

// What the checks want to know of an access to shared memory of one lane, after shared_place: races, uninitialised bytes, copies not
// waited for, ordinary writes before accesses by the async proxy.
void touch_shared(Warp& w, int lane, const SharedPlace& p, uint32_t bytes, int access);
// The same for accesses of the async engine. The agent is null without the race detector.
void touch_shared(const race::Agent* agent, const SharedPlace& p, uint32_t bytes, int access);
void touch_global(const race::Agent* agent, uint64_t address, uint64_t bytes, int access);

// A cp.async was issued, or its thread has waited for it.
void copy_issued(const SharedPlace& p, uint32_t bytes);
void copy_waited(const SharedPlace& p, uint32_t bytes);

// Proxies: ordinary writes to shared memory must be fenced before the async proxy touches them. Without the race detector a fence by
// any thread that synchronised after the write counts.
void check_proxy(const SharedPlace& p, uint32_t bytes, const char* what);

// A warp's shared access takes one wavefront per distinct 4-byte word in the same bank; 8- and 16-byte accesses are served in halves
// and quarters of a warp.
void count_conflicts(SharedTraffic& t, uint32_t mask, const uint64_t* address, uint32_t bytes);

// resolve() for addresses in the shared window.
void resolve_shared(Warp& w, const uint64_t* address, uint32_t bytes, int access, uint8_t** out);

}  // namespace sim
