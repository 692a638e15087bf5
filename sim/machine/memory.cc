// Allocations and address checks (5.1 State Spaces, 6.4.1 Addresses as Operands).
#include "sim/machine/memory.h"

#include <algorithm>
#include <cstdlib>

#include "sim/machine/machine.h"

namespace sim {

using ptx::Space;

namespace {

constexpr size_t kRedZone = 4096;  // around every allocation; 256-byte alignment as cudaMalloc
constexpr uint64_t kFreedLimit = 64u << 20;

}  // namespace

GlobalMemory& global_memory() {
  static auto* memory = new GlobalMemory;  // outlives every static destructor that frees device memory
  return *memory;
}

uint64_t GlobalMemory::allocate(size_t bytes, Allocation::Kind kind) {
  void* base = nullptr;
  if (posix_memalign(&base, 256, round_up(bytes, 256) + 2 * kRedZone)) return 0;
  auto a = std::make_unique<Allocation>();
  a->base = base;
  a->kind = kind;
  a->begin = reinterpret_cast<uint64_t>(base) + kRedZone;
  a->end = a->begin + bytes;
  memset(reinterpret_cast<void*>(a->begin), 0xff, bytes);  // poison: NaN
  used_ += bytes;
  const uint64_t at = a->begin;
  by_begin_[at] = std::move(a);
  return at;
}

void GlobalMemory::adopt(void* p, size_t bytes, Allocation::Kind kind) {
  auto a = std::make_unique<Allocation>();
  a->kind = kind;
  a->begin = reinterpret_cast<uint64_t>(p);
  a->end = a->begin + bytes;
  by_begin_[a->begin] = std::move(a);
}

bool GlobalMemory::release(uint64_t address) {
  auto it = by_begin_.find(address);
  if (it == by_begin_.end() || !it->second->live) return false;
  Allocation& a = *it->second;
  a.live = false;
  a.shadow = {};
  used_ -= a.end - a.begin;
  if (!a.base) {
    by_begin_.erase(it);
    return true;
  }
  freed_.push_back(&a);
  freed_bytes_ += a.end - a.begin;
  while (freed_bytes_ > kFreedLimit && freed_.size() > 1) {
    Allocation* old = freed_.front();
    freed_.pop_front();
    freed_bytes_ -= old->end - old->begin;
    free(old->base);
    by_begin_.erase(old->begin);
  }
  return true;
}

Allocation* GlobalMemory::find(uint64_t address) {
  auto it = by_begin_.upper_bound(address);
  if (it == by_begin_.begin()) return nullptr;
  Allocation* a = (--it)->second.get();
  return address < a->end ? a : nullptr;
}

std::string GlobalMemory::describe(uint64_t address, uint64_t bytes) {
  if (Allocation* a = find(address); a && !a->live)
    return format("is in freed memory (%lu bytes at offset %lu of %lu)", bytes, address - a->begin, a->end - a->begin);
  auto it = by_begin_.upper_bound(address);
  if (it != by_begin_.begin()) {
    Allocation* a = std::prev(it)->second.get();
    if (address < a->end + kRedZone)
      return format("runs past the end of an allocation of %lu bytes (%lu bytes at offset %lu)", a->end - a->begin, bytes,
                    address - a->begin);
  }
  if (it != by_begin_.end() && address + kRedZone > it->first)
    return format("is %lu bytes before an allocation of %lu bytes", it->first - address, it->second->end - it->second->begin);
  return "is not in any allocation";
}

// --------------------------------------------------------------------------------------- global

namespace {

void check_kind(Warp& w, int lane, const Allocation& a, int access) {
  if (a.kind == Allocation::Params && access & Write) w.fault(lane, "write to kernel parameters");
  const Machine& m = *w.machine;
  if (a.device >= 0 && a.device != m.device && !(m.peers >> a.device & 1))
    w.fault(lane, "global %s: the memory belongs to device %d, and peer access from device %d is not enabled", access & Write ? "write" : "read",
            a.device, m.device);
}

Allocation& global_allocation(Warp& w, int lane, uint64_t address, uint64_t bytes, int access) {
  Allocation* a = global_memory().find(address);
  if (!a || !a->live || address + bytes > a->end) {
    const char* what = access & Write ? "write" : "read";
    w.fault(lane, "global %s: address 0x%lx %s", what, address, global_memory().describe(address, bytes).c_str());
  }
  check_kind(w, lane, *a, access);
  return *a;
}

void count_sectors(Warp& w, const uint64_t* address, uint32_t bytes, int access) {
  Profile& p = w.machine->profile;
  uint64_t sectors[64];
  int n = 0;
  for_lanes(w.mask, [&](int l) {
    for (uint64_t s = address[l] / 32; s <= (address[l] + bytes - 1) / 32; ++s)
      if (n < 64) sectors[n++] = s;
  });
  std::sort(sectors, sectors + n);
  p.global_sectors += uint64_t(std::unique(sectors, sectors + n) - sectors);
  ++p.global_requests;
  (access & Write ? p.global_store_bytes : p.global_load_bytes) += uint64_t(std::popcount(w.mask)) * bytes;
}

// A warp's shared access takes one wavefront per distinct 4-byte word in the same bank; 8- and 16-byte
// accesses are served in halves and quarters of a warp.
void count_conflicts(Warp& w, const uint64_t* address, uint32_t bytes) {
  Profile& p = w.machine->profile;
  const int lanes_at_once = bytes <= 4 ? 32 : bytes == 8 ? 16 : 8;
  for (int first = 0; first < 32; first += lanes_at_once) {
    uint64_t words[128];
    int n = 0;
    for (int l = first; l < first + lanes_at_once; ++l)
      if (w.mask >> l & 1)
        for (uint32_t b = 0; b < bytes; b += 4) words[n++] = (address[l] + b) / 4;
    if (!n) continue;
    std::sort(words, words + n);
    n = int(std::unique(words, words + n) - words);
    int banks[32] = {}, worst = 0;
    for (int k = 0; k < n; ++k) worst = std::max(worst, ++banks[words[k] % 32]);
    ++p.shared_requests;
    p.shared_conflicts += uint64_t(worst - 1);
  }
}

void resolve_global(Warp& w, const Instr& i, const uint64_t* address, uint32_t bytes, int access, uint8_t** out) {
  uint64_t low = ~0ull, high = 0, bits = 0;
  for_lanes(w.mask, [&](int l) {
    low = std::min(low, address[l]);
    high = std::max(high, address[l]);
    bits |= address[l];
    out[l] = reinterpret_cast<uint8_t*>(address[l]);
  });
  if (bits % bytes)
    for_lanes(w.mask, [&](int l) {
      if (address[l] % bytes) w.fault(l, "global address 0x%lx is not aligned to %u bytes", address[l], bytes);
    });
  auto* cached = static_cast<Allocation*>(i.cache);
  if (cached && cached->live && low >= cached->begin && high + bytes <= cached->end) {
    check_kind(w, __builtin_ctz(w.mask), *cached, access);
    if (w.machine->options.race) for_lanes(w.mask, [&](int l) { race::global_access(w, l, *cached, address[l], bytes, access); });
  } else {
    for_lanes(w.mask, [&](int l) {
      Allocation& a = global_allocation(w, l, address[l], bytes, access);
      i.cache = &a;
      if (w.machine->options.race) race::global_access(w, l, a, address[l], bytes, access);
    });
  }
  if (w.machine->options.profile && Space(i.space) != Space::param) count_sectors(w, address, bytes, access);
}

}  // namespace

void check_extent(Warp& w, int lane, uint64_t address, uint64_t bytes, int access) {
  if (address >= kSharedWindow) w.fault(lane, "address 0x%lx is not in global memory", address);
  global_allocation(w, lane, address, bytes, access);
}

uint8_t* global_pointer(Warp& w, int lane, uint64_t address, uint64_t bytes, uint32_t align, int access) {
  if (address >= kSharedWindow) w.fault(lane, "address 0x%lx is not in global memory", address);
  if (address % align) w.fault(lane, "global address 0x%lx is not aligned to %u bytes", address, align);
  Allocation& a = global_allocation(w, lane, address, bytes, access);
  if (w.machine->options.race) race::global_access(w, lane, a, address, bytes, access);
  return reinterpret_cast<uint8_t*>(address);
}

// --------------------------------------------------------------------------------------- shared

uint8_t* SharedPlace::data() const { return block->shared.data() + offset; }

SharedPlace shared_place(Warp& w, int lane, uint64_t address, uint32_t bytes, uint32_t align) {
  const uint32_t rank = uint32_t(address >> kRankShift), offset = uint32_t(address) & ((1u << kRankShift) - 1);
  Block* b = rank == 0 ? w.block : address >> 32 ? nullptr : block_of(*w.block->cluster, rank - 1);
  if (!b) w.fault(lane, "shared address 0x%lx is outside the shared window of the cluster", address);
  if (rank && b->live == 0) w.fault(lane, "access to shared memory of block %u of the cluster, which has exited", rank - 1);
  if (offset % align) w.fault(lane, "shared address 0x%x is not aligned to %u bytes", offset, align);
  for (const SharedObject& o : b->objects)
    if (offset >= o.begin && offset < o.end) {
      if (offset + bytes <= o.end) return {b, offset};
      w.fault(lane, "%u bytes at offset %u run past the end of shared '%s' (%u bytes)", bytes, offset - o.begin, readable(o.name).c_str(),
              o.end - o.begin);
    }
  std::string nearest = "no shared variable";
  for (const SharedObject& o : b->objects)
    if (offset >= o.end && offset < o.end + 1024)
      nearest = format("%u bytes after the end of '%s'", offset - o.end, readable(o.name).c_str());
  w.fault(lane, "shared address 0x%x is in no variable (%s)", offset, nearest.c_str());
}

namespace {

void resolve_shared(Warp& w, const Instr& i, const uint64_t* address, uint32_t bytes, int access, uint8_t** out) {
  uint64_t low = ~0ull, high = 0, bits = 0;
  for_lanes(w.mask, [&](int l) {
    low = std::min(low, address[l]);
    high = std::max(high, address[l]);
    bits |= address[l];
  });
  Block& b = *w.block;
  // The cache holds an index + 1, since every block has its own list of objects.
  const size_t index = reinterpret_cast<size_t>(i.cache);
  if (index && bits % bytes == 0 && index <= b.objects.size() && low >= b.objects[index - 1].begin &&
      high + bytes <= b.objects[index - 1].end) {
    uint8_t* base = b.shared.data();
    for_lanes(w.mask, [&](int l) { out[l] = base + address[l]; });
    if (w.machine->options.race) for_lanes(w.mask, [&](int l) { race::shared_access(w, l, b, uint32_t(address[l]), bytes, access); });
    if (access & Write && w.program->uses_async_proxy)
      for_lanes(w.mask, [&](int l) { note_generic_write(w, l, {&b, uint32_t(address[l])}, bytes); });
  } else {
    for_lanes(w.mask, [&](int l) {
      const SharedPlace p = shared_place(w, l, address[l], bytes, bytes);
      out[l] = p.data();
      for (size_t k = 0; k < p.block->objects.size(); ++k)
        if (p.offset >= p.block->objects[k].begin && p.offset < p.block->objects[k].end) i.cache = reinterpret_cast<void*>(k + 1);
      if (w.machine->options.race) race::shared_access(w, l, *p.block, p.offset, bytes, access);
      if (access & Write && w.program->uses_async_proxy) note_generic_write(w, l, p, bytes);
    });
  }
  if (w.machine->options.profile) count_conflicts(w, address, bytes);
}

void resolve_local(Warp& w, const uint64_t* address, uint32_t bytes, uint8_t** out) {
  const uint32_t per_lane = w.program->local_bytes;
  for_lanes(w.mask, [&](int l) {
    if (address[l] % bytes) w.fault(l, "local address 0x%lx is not aligned to %u bytes", address[l], bytes);
    if (address[l] + bytes > per_lane) w.fault(l, "local address 0x%lx is outside the thread's %u bytes", address[l], per_lane);
    out[l] = w.local.data() + size_t(l) * per_lane + address[l];
  });
}

}  // namespace

void resolve(Warp& w, const Instr& i, Space space, const uint64_t* address, uint32_t bytes, int access, uint8_t** out) {
  switch (space) {
    case Space::global:
    case Space::constant:
    case Space::param:
      return resolve_global(w, i, address, bytes, access, out);
    case Space::shared:
    case Space::shared_cluster:
      return resolve_shared(w, i, address, bytes, access, out);
    case Space::local:
      return resolve_local(w, address, bytes, out);
    case Space::generic:
      break;
  }
  // Generic: lanes may point into different windows.
  uint32_t shared = 0, local = 0;
  uint64_t stripped[32];
  for_lanes(w.mask, [&](int l) {
    const uint64_t window = address[l] & 0xf000'0000'0000'0000;
    if (window == kSharedWindow)
      shared |= 1u << l;
    else if (window == kLocalWindow)
      local |= 1u << l;
    stripped[l] = address[l] - (window == kSharedWindow || window == kLocalWindow ? window : 0);
  });
  const uint32_t all = w.mask;
  auto part = [&](uint32_t lanes, auto f) {
    if (!lanes) return;
    w.mask = lanes;
    f();
    w.mask = all;
  };
  if (uint32_t lanes = all & ~shared & ~local) part(lanes, [&] { resolve_global(w, i, address, bytes, access, out); });
  // The cache of a generic access is for global memory only.
  void* kept = i.cache;
  part(shared, [&] {
    i.cache = nullptr;
    resolve_shared(w, i, stripped, bytes, access, out);
  });
  part(local, [&] { resolve_local(w, stripped, bytes, out); });
  i.cache = kept;
}

// ---------------------------------------------------------------------------------------- proxies

// generic_writes holds, per 16 bytes, 0 or (fences of the writer << 10 | thread in the block) + 1.
void note_generic_write(Warp& w, int lane, const SharedPlace& p, uint32_t bytes) {
  const uint32_t tag = (w.proxy_fences[lane] << 10 | (w.index * 32 + uint32_t(lane))) + 1;
  // A write into another block's memory is not tracked: its fences are the other block's affair.
  for (uint32_t g = p.offset / 16; g <= (p.offset + bytes - 1) / 16; ++g) p.block->generic_writes[g] = p.block == w.block ? tag : 0;
}

void check_proxy(const SharedPlace& p, uint32_t bytes, const char* what) {
  for (uint32_t g = p.offset / 16; g <= (p.offset + bytes - 1) / 16; ++g) {
    const uint32_t tag = p.block->generic_writes[g];
    if (!tag) continue;
    const uint32_t thread = (tag - 1) & 1023, fences = (tag - 1) >> 10;
    const Warp& writer = p.block->warps[thread / 32];
    if ((writer.proxy_fences[thread % 32] & 0x3fffff) == fences)
      fail("missing fence.proxy.async: %s touches shared offset %u, which thread %u wrote by ordinary stores and has not fenced", what,
           g * 16, thread);
  }
}

}  // namespace sim
