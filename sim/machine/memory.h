// Device memory: allocations, shared and local windows, address checks.
#pragma once

#include <deque>
#include <map>
#include <memory>

#include "sim/machine/race.h"
#include "sim/ptx/program.h"

namespace sim {

struct Block;

enum Access : uint8_t { Read = 0, Write = 1, Atomic = 2, AsyncProxy = 4, Strong = 8 };

struct Allocation {
  uint64_t begin = 0, end = 0;
  enum Kind : uint8_t { Device, Host, Module, Params } kind = Device;
  bool live = true;
  int device = -1;       // the owner; -1: every device may use it
  void* base = nullptr;  // what to free
  race::Shadow shadow;
};

// Everything a kernel may reach by a global address.  Device addresses are host addresses.
class GlobalMemory {
 public:
  uint64_t allocate(size_t bytes, Allocation::Kind kind);
  void adopt(void* p, size_t bytes, Allocation::Kind kind);  // memory owned by the caller
  bool release(uint64_t address);                            // false: not the start of a live allocation
  Allocation* find(uint64_t address);                        // also freed ones; null: never allocated
  std::string describe(uint64_t address, uint64_t bytes);
  uint64_t used() const { return used_; }

 private:
  std::map<uint64_t, std::unique_ptr<Allocation>> by_begin_;
  std::deque<Allocation*> freed_;  // kept for a while, so that use after free is seen
  uint64_t used_ = 0, freed_bytes_ = 0;
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

// Proxy bookkeeping: ordinary writes to shared memory must be fenced before the async proxy touches them.
void note_generic_write(Warp& w, int lane, const SharedPlace& p, uint32_t bytes);
void check_proxy(const SharedPlace& p, uint32_t bytes, const char* what);

}  // namespace sim
