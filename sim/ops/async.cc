// 9.7.9 Data Movement: non-bulk copy (cp.async).
#include "sim/machine/mbarrier.h"
#include "sim/machine/tensor.h"
#include "sim/ops/access.h"

namespace sim {

void decode_bulk(Decoder& d);  // cp.async.bulk

// ------------------------------------------------------------------------------------ cp.async

namespace {

SharedPlace place_of(const Warp& w, const CpAsync& c, int lane) { return {w.block, uint32_t(c.dst[lane] - w.block->shared.data())}; }

// Performs the copies of `lanes`.  A copy may touch memory at any time between issue and wait.
void land(Warp& w, CpAsync& c, uint32_t lanes) {
  lanes &= c.pending;
  c.pending &= ~lanes;
  for_lanes(lanes, [&](int l) {
    touch_shared(w, l, place_of(w, c, l), c.bytes, Write | Landing);
    if (w.machine->options.race && c.source_bytes[l])
      if (Allocation* a = global_memory().find(reinterpret_cast<uint64_t>(c.src[l])))
        race::global_access(w, l, *a, reinterpret_cast<uint64_t>(c.src[l]), c.source_bytes[l], Read);
    memset(c.dst[l], 0, c.bytes);
    memcpy(c.dst[l], c.src[l], c.source_bytes[l]);
  });
}

void cp_async_run(Warp& w, const Instr& i) {  // r: dst, src, source bytes or none, ignore predicate or none
  uint64_t dst[32], src[32];
  uint8_t* p[32];
  CpAsync c{};
  c.instr = &i;
  c.bytes = uint32_t(i.flags);
  c.pending = c.unwaited = w.mask;
  // The two addresses have their own offsets; the source's is kept with the instruction.
  lane_addresses(w, i, i.r[0], dst);
  auto* s = w.reg<uint64_t>(i.r[1]);
  for_lanes(w.mask, [&](int l) { src[l] = s[l] + uint64_t(int64_t(int32_t(i.target))); });
  resolve(w, i, Space::shared, dst, c.bytes, Write | Landing, c.dst);
  uint32_t reads = 0;
  for_lanes(w.mask, [&](int l) {
    c.source_bytes[l] = i.r[2] == kNone ? c.bytes : w.reg<uint32_t>(i.r[2])[l];
    if (i.r[3] != kNone && w.pred(i.r[3]) >> l & 1) c.source_bytes[l] = 0;
    if (c.source_bytes[l] > c.bytes) w.fault(l, "cp.async: source size %u exceeds %u", c.source_bytes[l], c.bytes);
    c.group[l] = w.cp_group[l];
    c.src[l] = reinterpret_cast<uint8_t*>(src[l]);
    if (src[l] % c.bytes) w.fault(l, "cp.async: global address 0x%lx is not aligned to %u bytes", src[l], c.bytes);
    if (c.source_bytes[l]) reads |= 1u << l;
  });
  const uint32_t all = w.mask;
  if ((w.mask = reads)) resolve(w, i, Space::global, src, c.bytes, Read, p);
  w.mask = all;
  ++w.machine->progress;
  for_lanes(all, [&](int l) { copy_issued(place_of(w, c, l), c.bytes); });
  if (w.machine->lands_early())
    land(w, c, all);
  else
    for_lanes(all, [&](int l) { memset(c.dst[l], 0xff, c.bytes); });  // poison until it lands
  w.cp.push_back(c);
}

void cp_commit_run(Warp& w, const Instr&) {
  for_lanes(w.mask, [&](int l) { ++w.cp_group[l]; });
}

void wait_groups(Warp& w, uint32_t lanes, uint32_t pending, bool uncommitted) {
  for (CpAsync& c : w.cp) {
    uint32_t due = 0;
    for_lanes(lanes & c.unwaited, [&](int l) { due |= uint32_t(c.group[l] + pending < w.cp_group[l] + unsigned(uncommitted)) << l; });
    if (!due) continue;
    land(w, c, due);
    c.unwaited &= ~due;
    for_lanes(due, [&](int l) { copy_waited(place_of(w, c, l), c.bytes); });
  }
  std::erase_if(w.cp, [](const CpAsync& c) { return !c.unwaited; });
}
void cp_wait_group_run(Warp& w, const Instr& i) { wait_groups(w, w.mask, uint32_t(i.imm), false); }
void cp_wait_all_run(Warp& w, const Instr&) { wait_groups(w, w.mask, 0, true); }

void mbarrier_from_copies(Warp& w, const Instr& i) {  // cp.async.mbarrier.arrive: when the thread's copies have landed
  uint64_t address[32];
  lane_addresses(w, i, i.r[0], address);
  wait_groups(w, w.mask, 0, true);
  for_lanes(w.mask, [&](int l) {
    const SharedPlace p = shared_place(w, l, address[l], 8, 8);
    if (!i.flags) mbarrier_expect_more(w, l, p);
    mbarrier_arrive(w, l, p, 1, 0);
  });
}

void cp(Decoder& d) {
  d.need("async");
  if (d.take("bulk")) return decode_bulk(d);
  if (d.take("commit_group")) return d.emit(cp_commit_run, {});
  if (d.take("wait_all")) return d.emit(cp_wait_all_run, {});
  if (d.take("wait_group")) {
    d.instr.imm = d.constant(0);
    return d.emit(cp_wait_group_run, {});
  }
  if (d.take("mbarrier")) {
    d.need("arrive");
    d.instr.flags = d.take("noinc");
    const Space space = d.take_space();
    d.take_type();
    return d.emit(mbarrier_from_copies, {d.address(0, space)});
  }
  const bool cg = d.take("cg");
  if (!cg) d.need("ca");
  d.ignore({"L2::cache_hint", "L2::64B", "L2::128B", "L2::256B"});
  if (!d.take("shared")) d.need("shared::cta");
  d.need("global");
  const int64_t bytes = d.constant(2);
  if (bytes != 16 && (cg || (bytes != 4 && bytes != 8))) d.unsupported("cp-size");
  const uint32_t src = d.address(1, Space::global);
  if (!d.instr.wide) d.unsupported("32-bit global address");
  const int64_t src_offset = d.instr.imm;
  const uint32_t dst = d.address(0, Space::shared);
  d.instr.target = uint32_t(int32_t(src_offset));
  d.instr.flags = uint64_t(bytes);
  uint32_t size = kNone, ignore = kNone;
  if (d.count() > 3) (d.is_predicate(d.operand(3)) ? ignore : size) = d.source(3, d.is_predicate(d.operand(3)) ? Type::pred : Type::u32);
  d.emit(cp_async_run, {dst, src, size, ignore});
}

constexpr Family kFamilies[] = {
    {"cp", cp, "9.7.9 cp.async, cp.async.bulk",
     ".ca .cg 4/8/16 bytes, zero fill by size or predicate, commit_group, wait_group, wait_all, mbarrier.arrive[.noinc]; "
     "bulk: shared<->global, tensor 1-5d tile load/store, multicast, mbarrier complete_tx, bulk_group, prefetch; .reduce: all operations "
     "and types"},
};

}  // namespace

// Work still in flight when a thread ends is almost always a forgotten wait.
void thread_exit_checks(Warp& w, uint32_t lanes) {
  for (const CpAsync& c : w.cp)
    if (c.unwaited & lanes) w.fault(__builtin_ctz(c.unwaited & lanes), "thread ends with cp.async copies that were never waited for");
  for (const BulkStore& b : w.bulk)
    if (!b.done && lanes >> b.lane & 1) w.fault(b.lane, "thread ends with bulk copies from shared memory that were never waited for");
  if (!w.wgmma.empty()) w.fault(-1, "thread ends with wgmma operations that were never waited for");
}

std::span<const Family> async_families() { return kFamilies; }

}  // namespace sim
