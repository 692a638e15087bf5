// Allocations and address checks (5.1 State Spaces, 6.4.1 Addresses as Operands).
#include "sim/machine/memory.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>

#include "sim/machine/machine.h"

namespace sim {

using ptx::Space;

namespace {

constexpr size_t kRedZone = 4096;  // around every allocation; 256-byte alignment as cudaMalloc
constexpr uint64_t kFreedLimit = 64u << 20;

// Large allocations are poisoned without being touched: private mappings of one file of ones, over and over, so that what nobody writes
// takes no memory of the host.
constexpr size_t kLarge = size_t(1) << 30, kPoison = size_t(16) << 20;

int poison_file() {
  const int file = memfd_create("poison", MFD_CLOEXEC);
  if (file < 0) return -1;
  const std::string ones(kPoison, char(0xff));
  if (write(file, ones.data(), ones.size()) == ssize_t(ones.size())) return file;
  close(file);
  return -1;
}

// Null: the system does not have it.
void* map_poison(size_t bytes) {
  static const int file = poison_file();
  if (file < 0) return nullptr;
  void* const base = mmap(nullptr, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (base == MAP_FAILED) return nullptr;
  for (size_t at = 0; at < bytes; at += kPoison) {
    void* const piece = static_cast<char*>(base) + at;
    if (mmap(piece, std::min(kPoison, bytes - at), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED | MAP_NORESERVE, file, 0) != MAP_FAILED)
      continue;
    munmap(base, bytes);
    return nullptr;
  }
  return base;
}

void free_memory(const Allocation& a) {
  if (a.mapped)
    munmap(a.base, a.mapped);
  else
    free(a.base);
}

}  // namespace

GlobalMemory& global_memory() {
  static auto* memory = new GlobalMemory;  // outlives every static destructor that frees device memory
  return *memory;
}

uint64_t GlobalMemory::allocate(size_t bytes, Allocation::Kind kind) {
  const size_t whole = round_up(bytes, 256) + 2 * kRedZone;
  auto a = std::make_unique<Allocation>();
  if (bytes >= kLarge && (a->base = map_poison(whole))) a->mapped = whole;
  if (!a->base && posix_memalign(&a->base, 256, whole)) return 0;
  a->kind = kind;
  a->begin = reinterpret_cast<uint64_t>(a->base) + kRedZone;
  a->end = a->begin + bytes;
  if (!a->mapped) memset(reinterpret_cast<void*>(a->begin), 0xff, bytes);  // poison: NaN
  if (track_ && kind == Allocation::Device) a->initialised.assign(bytes, 0);
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
  a.initialised = {};
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
    free_memory(*old);
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

void GlobalMemory::host_write(const void* p, uint64_t bytes) {
  Allocation* a = find(reinterpret_cast<uint64_t>(p));
  if (a && !a->initialised.empty() && bytes) memset(&a->initialised[reinterpret_cast<uint64_t>(p) - a->begin], 1, bytes);
}

void GlobalMemory::copied(void* to, const void* from, uint64_t bytes) {
  const uint64_t source = reinterpret_cast<uint64_t>(from), target = reinterpret_cast<uint64_t>(to);
  Allocation *a = find(source), *b = find(target);
  if (!b || b->initialised.empty() || !bytes) return;
  if (!a || a->initialised.empty()) return host_write(to, bytes);
  memmove(&b->initialised[target - b->begin], &a->initialised[source - a->begin], bytes);
}

// --------------------------------------------------------------------------------------- global

namespace {

void check_kind(Warp& w, int lane, const Allocation& a, int access) {
  if (a.kind == Allocation::Params && access & Write) w.fault(lane, "write to kernel parameters");
  const Machine& m = *w.machine;
  if (a.device >= 0 && a.device != m.device && !(m.peers >> a.device & 1))
    w.fault(lane, "global %s: the memory belongs to device %d, and peer access from device %d is not enabled",
            access & Write ? "write" : "read", a.device, m.device);
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

// SIM_INIT: reads of bytes that nobody has written.
void check_initialised(Warp& w, int lane, Allocation& a, uint64_t address, uint64_t bytes, int access) {
  uint8_t* state = &a.initialised[address - a.begin];
  if (!(access & Write) || access & Update)
    if (const void* hole = memchr(state, 0, bytes))
      w.fault(lane, "read of uninitialised global memory: byte %lu of an allocation of %lu bytes was never written",
              address - a.begin + uint64_t(static_cast<const uint8_t*>(hole) - state), a.end - a.begin);
  if (access & Write) memset(state, 1, bytes);
}

void touch_global(Warp& w, int lane, Allocation& a, uint64_t address, uint64_t bytes, int access) {
  if (w.machine->options.race) race::global_access(w, lane, a, address, bytes, access);
  if (!a.initialised.empty()) check_initialised(w, lane, a, address, bytes, access);
}

void count_sectors(Warp& w, const uint64_t* address, uint32_t bytes, int access) {
  Profile& p = w.machine->profile;
  const uint64_t lanes = uint64_t(std::popcount(w.mask));
  if (access & Update) {
    ++p.atomic_requests;
    p.atomics += lanes;
    return;
  }
  uint64_t sectors[96], begins[32];
  int n = 0, distinct = 0;
  for_lanes(w.mask, [&](int l) {
    begins[distinct++] = address[l];
    for (uint64_t s = address[l] / 32; s <= (address[l] + bytes - 1) / 32; ++s) sectors[n++] = s;
  });
  std::sort(sectors, sectors + n);
  std::sort(begins, begins + distinct);
  distinct = int(std::unique(begins, begins + distinct) - begins);
  GlobalTraffic& t = access & Write ? p.store : p.load;
  ++t.requests;
  t.bytes += lanes * bytes;
  t.sectors += uint64_t(std::unique(sectors, sectors + n) - sectors);
  t.ideal_sectors += (uint64_t(distinct) * bytes + 31) / 32;
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
  Allocation*& cached = w.machine->caches[w.pc].global;
  if (cached && cached->live && low >= cached->begin && high + bytes <= cached->end) {
    check_kind(w, __builtin_ctz(w.mask), *cached, access);
    if (w.machine->options.race || !cached->initialised.empty())
      for_lanes(w.mask, [&](int l) { touch_global(w, l, *cached, address[l], bytes, access); });
  } else {
    for_lanes(w.mask, [&](int l) {
      cached = &global_allocation(w, l, address[l], bytes, access);
      touch_global(w, l, *cached, address[l], bytes, access);
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
  touch_global(w, lane, a, address, bytes, access);
  return reinterpret_cast<uint8_t*>(address);
}

void touch_global(const race::Agent* agent, uint64_t address, uint64_t bytes, int access) {
  Allocation* a = bytes ? global_memory().find(address) : nullptr;
  if (!a) return;
  if (agent) race::agent_global(*agent, *a, address, bytes, access | AsyncProxy);
  if (a->initialised.empty()) return;
  uint8_t* state = &a->initialised[address - a->begin];
  if ((!(access & Write) || access & Update) && memchr(state, 0, bytes))
    fail("read of uninitialised global memory: some of the %lu bytes at offset %lu of an allocation of %lu bytes were never written", bytes,
         address - a->begin, a->end - a->begin);
  if (access & Write) memset(state, 1, bytes);
}

// ---------------------------------------------------------------------------------- local, generic

namespace {

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
      return resolve_shared(w, address, bytes, access, out);
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
  part(shared, [&] { resolve_shared(w, stripped, bytes, access, out); });
  part(local, [&] { resolve_local(w, stripped, bytes, out); });
}

}  // namespace sim
