// Which memory belongs to whom: allocations as the runtime knows them, and memory pools.
#pragma once

#include "sim/cuda/runtime.h"

namespace sim {

struct MemoryBlock {
  enum Kind : uint8_t { Device, Pooled, Graph, Pinned, Registered, Managed, Variable } kind = Device;
  uint64_t begin = 0, bytes = 0;
  int device = 0;      // owner; for host memory the device that was current
  unsigned flags = 0;  // of cudaHostAlloc, cudaHostRegister
  Pool* pool = nullptr;
  bool freeing = false;  // a cudaFreeAsync is under way
  bool on_device() const { return kind == Device || kind == Pooled || kind == Graph || kind == Variable; }
  bool on_host() const { return kind == Pinned || kind == Registered || kind == Managed; }
};

struct Pool {
  Device* device = nullptr;
  bool is_default = false, destroyed = false;
  uint64_t threshold = 0;  // bytes kept when the device synchronises
  uint64_t used = 0, used_high = 0, reserved = 0, reserved_high = 0;
  int reuse_event = 1, reuse_opportunistic = 1, reuse_internal = 1;
  std::map<int, cudaMemAccessFlags> access;  // of other devices
  uint64_t limit = 0;                        // bytes; 0: none
};

void open_device(Device& d);   // its pools and default stream
void reset_device(Device& d);  // frees all it owns

// 0 when the device has not that much left.
uint64_t allocate_device(Device& d, size_t bytes, MemoryBlock::Kind kind, Pool* pool = nullptr);
void trim(Pool& pool, uint64_t keep);  // gives back what is not used, beyond `keep` bytes
uint64_t allocate_host(Device& d, size_t bytes, MemoryBlock::Kind kind, unsigned flags);
void register_host(Device& d, uint64_t begin, size_t bytes, unsigned flags);
uint64_t place_variable(Device& d, size_t bytes, bool managed);
void release_block(uint64_t begin);      // must be live
MemoryBlock* find_block(const void* p);  // that contains p; null: pageable host memory, or freed
MemoryBlock* find_begin(const void* p);
uint64_t graph_bytes(int device);                     // that graphs hold
std::string describe(const void* p, uint64_t bytes);  // for messages

}  // namespace sim
