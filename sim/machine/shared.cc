// Shared memory: places, and the checks that concern it.
#include <algorithm>

#include "sim/machine/machine.h"

namespace sim {

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

// -------------------------------------------------------------------------------------- the checks

namespace {

// Tags in generic_writes: 0, or (time << 10 | thread in the block) + 1.
void note_generic_write(Warp& w, int lane, const SharedPlace& p, uint32_t bytes) {
  const uint64_t tag = (w.machine->events << 10 | (w.index * 32 + uint32_t(lane))) + 1;
  // A write into another block's memory is not tracked: the fence may be that block's.
  for (uint32_t g = p.offset / 16; g <= (p.offset + bytes - 1) / 16; ++g) p.block->generic_writes[g] = p.block == w.block ? tag : 0;
}

// The first byte that was never written; `bytes` if there is none.
uint32_t first_uninitialised(const std::vector<uint8_t>& initialised, uint64_t at, uint32_t bytes) {
  const uint8_t* begin = initialised.data() + at;
  const void* zero = memchr(begin, 0, bytes);
  return zero ? uint32_t(static_cast<const uint8_t*>(zero) - begin) : bytes;
}

std::string unwritten(const SharedPlace& p, uint32_t bytes) {
  const uint32_t at = first_uninitialised(p.block->initialised, p.offset, bytes);
  return at == bytes ? "" : "read of uninitialised shared memory: " + shared_name(*p.block, p.offset + at) + " was never written";
}

bool unwaited(const SharedPlace& p, uint32_t bytes) {
  const std::vector<uint8_t>& copies = p.block->unwaited_copies;
  for (uint32_t g = p.offset / 4; g <= (p.offset + bytes - 1) / 4; ++g)
    if (copies[g]) return true;
  return false;
}

// Whether any of a block's shared memory accesses needs more than the place.
bool watched(const Warp& w, int access) {
  return w.machine->options.race || w.machine->options.init || w.program->uses_cp_async || (access & Write && w.program->uses_async_proxy);
}

}  // namespace

void touch_shared(Warp& w, int lane, const SharedPlace& p, uint32_t bytes, int access) {
  Block& b = *p.block;
  if (!(access & (AsyncProxy | Landing)) && w.program->uses_cp_async && unwaited(p, bytes))
    w.fault(lane, "%s of %s, where a cp.async that its thread has not waited for writes", access & Write ? "write" : "read",
            shared_name(b, p.offset).c_str());
  if (w.machine->options.race) race::shared_access(w, lane, b, p.offset, bytes, access);
  if (!b.initialised.empty()) {
    if (!(access & Write) || access & Update)
      if (const std::string problem = unwritten(p, bytes); !problem.empty()) w.fault(lane, "%s", problem.c_str());
    if (access & Write) memset(&b.initialised[p.offset], 1, bytes);
  }
  if (access & Write && !(access & AsyncProxy) && w.program->uses_async_proxy) note_generic_write(w, lane, p, bytes);
}

void touch_shared(const race::Agent* agent, const SharedPlace& p, uint32_t bytes, int access) {
  if (agent) race::agent_shared(*agent, *p.block, p.offset, bytes, access | AsyncProxy);
  if (p.block->initialised.empty()) return;
  if (access & Write) {
    memset(&p.block->initialised[p.offset], 1, bytes);
  } else if (const std::string problem = unwritten(p, bytes); !problem.empty()) {
    fail("%s", problem.c_str());
  }
}

void copy_issued(const SharedPlace& p, uint32_t bytes) {
  for (uint32_t g = p.offset / 4; g < (p.offset + bytes) / 4; ++g) p.block->unwaited_copies[g] += p.block->unwaited_copies[g] < 255;
}
void copy_waited(const SharedPlace& p, uint32_t bytes) {
  for (uint32_t g = p.offset / 4; g < (p.offset + bytes) / 4; ++g) p.block->unwaited_copies[g] -= p.block->unwaited_copies[g] > 0;
}

// 8. Proxies: a fence.proxy.async anywhere on the path from the write to the asynchronous access will do. The race detector follows the
// path exactly (sim/machine/race.cc); without it, the writer's own later fence counts, or a fence of any thread that has synchronised
// since the write.
void check_proxy(const SharedPlace& p, uint32_t bytes, const char* what) {
  const Cluster& c = *p.block->cluster;
  if (p.block->machine->options.race) return;
  for (uint32_t g = p.offset / 16; g <= (p.offset + bytes - 1) / 16; ++g) {
    const uint64_t tag = p.block->generic_writes[g];
    if (!tag) continue;
    const uint32_t thread = uint32_t((tag - 1) & 1023);
    const uint64_t time = (tag - 1) >> 10;
    if (c.fence_reach > time || p.block->warps[thread / 32].proxy_fenced[thread % 32] > time) continue;
    fail("missing fence.proxy.async: %s touches %s, which thread %u wrote by ordinary stores; no such fence lies between", what,
         shared_name(*p.block, g * 16).c_str(), thread);
  }
}

void proxy_fence(Warp& w, uint32_t lanes) {
  const uint64_t now = ++w.machine->events;
  Cluster& c = *w.block->cluster;
  for_lanes(lanes, [&](int l) {
    w.proxy_fenced[l] = now;
    c.fence_reach = std::max(c.fence_reach, w.acquired[l]);
  });
  ++w.machine->events;
  if (w.machine->options.race) race::proxy_fence(w, lanes);
}

void order_release(Warp& w, uint32_t lanes, race::Sync& into) {
  if (w.machine->options.race) race::release(w, lanes, into);
}
void order_acquire(Warp& w, uint32_t lanes, race::Sync& from) {
  if (w.machine->options.race) race::acquire(w, lanes, from);
  if (!w.program->uses_async_proxy) return;
  const uint64_t now = ++w.machine->events;
  for_lanes(lanes, [&](int l) { w.acquired[l] = now; });
}
void order_exchange(Warp& w, uint32_t lanes) {
  race::Sync s;
  order_release(w, lanes, s);
  order_acquire(w, lanes, s);
}

// ------------------------------------------------------------------------------ accesses of a warp

void count_conflicts(SharedTraffic& t, uint32_t mask, const uint64_t* address, uint32_t bytes) {
  const int lanes_at_once = bytes <= 4 ? 32 : bytes == 8 ? 16 : 8;
  for (int first = 0; first < 32; first += lanes_at_once) {
    uint64_t words[128];
    int n = 0;
    for (int l = first; l < first + lanes_at_once; ++l)
      if (mask >> l & 1)
        for (uint32_t b = 0; b < bytes; b += 4) words[n++] = (address[l] + b) / 4;
    if (!n) continue;
    std::sort(words, words + n);
    n = int(std::unique(words, words + n) - words);
    int banks[32] = {}, worst = 0;
    for (int k = 0; k < n; ++k) worst = std::max(worst, ++banks[words[k] % 32]);
    ++t.requests;
    t.conflicts += uint64_t(worst - 1);
  }
}

void resolve_shared(Warp& w, const uint64_t* address, uint32_t bytes, int access, uint8_t** out) {
  uint64_t low = ~0ull, high = 0, bits = 0;
  for_lanes(w.mask, [&](int l) {
    low = std::min(low, address[l]);
    high = std::max(high, address[l]);
    bits |= address[l];
  });
  Block& b = *w.block;
  const bool check = watched(w, access);
  uint32_t& cached = w.machine->caches[w.pc].shared;  // every block has its own list of objects, so the number is kept
  if (cached && bits % bytes == 0 && cached <= b.objects.size() && low >= b.objects[cached - 1].begin &&
      high + bytes <= b.objects[cached - 1].end) {
    uint8_t* base = b.shared.data();
    for_lanes(w.mask, [&](int l) { out[l] = base + address[l]; });
    if (check) for_lanes(w.mask, [&](int l) { touch_shared(w, l, {&b, uint32_t(address[l])}, bytes, access); });
  } else {
    for_lanes(w.mask, [&](int l) {
      const SharedPlace p = shared_place(w, l, address[l], bytes, bytes);
      out[l] = p.data();
      for (size_t k = 0; k < p.block->objects.size(); ++k)
        if (p.offset >= p.block->objects[k].begin && p.offset < p.block->objects[k].end) cached = uint32_t(k + 1);
      if (check) touch_shared(w, l, p, bytes, access);
    });
  }
  if (w.machine->options.profile)
    count_conflicts(access & Write ? w.machine->profile.shared_store : w.machine->profile.shared_load, w.mask, address, bytes);
}

}  // namespace sim
