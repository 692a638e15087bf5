// The runtime's account of memory: owners, limits, pools.
#include "sim/cuda/memory.h"

#include <algorithm>

#include "sim/cuda/work.h"

namespace sim {
namespace {

std::map<uint64_t, MemoryBlock>& blocks() {
  static auto* map = new std::map<uint64_t, MemoryBlock>;  // outlives static destructors that free memory
  return *map;
}

constexpr uint64_t kGranule = 512;

uint64_t place(Device& d, size_t bytes, MemoryBlock::Kind kind, unsigned flags, Pool* pool) {
  const bool host = kind == MemoryBlock::Pinned || kind == MemoryBlock::Managed;
  const uint64_t at = global_memory().allocate(bytes, host                            ? Allocation::Host
                                                      : kind == MemoryBlock::Variable ? Allocation::Module
                                                                                      : Allocation::Device);
  if (!at) return 0;
  if (!host) global_memory().find(at)->device = d.ordinal;
  blocks()[at] = {kind, at, bytes, d.ordinal, flags, pool, false};
  return at;
}

}  // namespace

void open_device(Device& d) {
  d.legacy = new_stream(d, cudaStreamDefault, 0);
  d.pools.push_back(std::make_unique<Pool>());
  d.pools[0]->device = &d;
  d.pools[0]->is_default = true;
  d.pool = d.pools[0].get();
}

uint64_t allocate_device(Device& d, size_t bytes, MemoryBlock::Kind kind, Pool* pool) {
  const uint64_t rounded = round_up(bytes, kGranule);
  if (rounded < bytes || d.used + rounded > d.card.memory) return 0;
  if (pool && pool->limit && pool->used + rounded > pool->limit) return 0;
  const uint64_t at = place(d, bytes, kind, 0, pool);
  if (!at) return 0;
  d.used += rounded;
  if (pool) {
    pool->used += rounded;
    pool->used_high = std::max(pool->used_high, pool->used);
    pool->reserved = std::max(pool->reserved, pool->used);
    pool->reserved_high = std::max(pool->reserved_high, pool->reserved);
  }
  return at;
}

void trim(Pool& pool, uint64_t keep) { pool.reserved = std::max(pool.used, std::min(pool.reserved, keep)); }

uint64_t allocate_host(Device& d, size_t bytes, MemoryBlock::Kind kind, unsigned flags) {
  return place(d, std::max<size_t>(bytes, 1), kind, flags, nullptr);
}

void register_host(Device& d, uint64_t begin, size_t bytes, unsigned flags) {
  global_memory().adopt(reinterpret_cast<void*>(begin), bytes, Allocation::Host);
  blocks()[begin] = {MemoryBlock::Registered, begin, bytes, d.ordinal, flags, nullptr, false};
}

uint64_t place_variable(Device& d, size_t bytes, bool managed) {
  const size_t n = std::max<size_t>(bytes, 1);
  return place(d, n, managed ? MemoryBlock::Managed : MemoryBlock::Variable, 0, nullptr);
}

void release_block(uint64_t begin) {
  auto it = blocks().find(begin);
  if (it == blocks().end()) return;
  const MemoryBlock b = it->second;
  blocks().erase(it);
  global_memory().release(begin);
  if (b.kind != MemoryBlock::Device && b.kind != MemoryBlock::Pooled && b.kind != MemoryBlock::Graph) return;
  runtime().devices[size_t(b.device)]->used -= round_up(b.bytes, kGranule);
  if (b.pool) b.pool->used -= round_up(b.bytes, kGranule);
}

MemoryBlock* find_begin(const void* p) {
  auto it = blocks().find(reinterpret_cast<uint64_t>(p));
  return it == blocks().end() ? nullptr : &it->second;
}

uint64_t graph_bytes(int device) {
  uint64_t sum = 0;
  for (auto& [begin, b] : blocks())
    if (b.kind == MemoryBlock::Graph && b.device == device) sum += round_up(b.bytes, kGranule);
  return sum;
}

MemoryBlock* find_block(const void* p) {
  const uint64_t address = reinterpret_cast<uint64_t>(p);
  auto it = blocks().upper_bound(address);
  if (it == blocks().begin()) return nullptr;
  MemoryBlock& b = std::prev(it)->second;
  return address < b.begin + std::max<uint64_t>(b.bytes, 1) ? &b : nullptr;
}

std::string describe(const void* p, uint64_t bytes) { return global_memory().describe(reinterpret_cast<uint64_t>(p), bytes); }

void reset_device(Device& d) {
  forget_work(d);
  destroy_streams_and_events(d);
  for (auto& m : runtime().modules) {
    for (auto& [name, k] : m->kernels) {
      auto on = k->on.find(d.ordinal);
      if (on == k->on.end()) continue;
      if (on->second.program) global_memory().release(reinterpret_cast<uint64_t>(on->second.program->params.data()));
      k->on.erase(on);
    }
    m->loaded.erase(d.ordinal);
  }
  std::vector<uint64_t> owned;
  for (auto& [begin, b] : blocks())
    if (b.device == d.ordinal && b.kind != MemoryBlock::Managed) owned.push_back(begin);
  for (uint64_t begin : owned) release_block(begin);
  d.pools.clear();
  d.peers = d.machine.peers = 0;
  d.limits.clear();
  d.sticky = cudaSuccess;
  d.sticky_seen = false;
  open_device(d);
}

}  // namespace sim
