// 9.7.9 Data Movement: non-bulk copy (cp.async); 9.7.13 mbarrier.
#include "sim/machine/lanes.h"
#include "sim/machine/mbarrier.h"
#include "sim/machine/tensor.h"

namespace sim {

void lane_addresses(Warp& w, const Instr& i, uint32_t base, uint64_t* address);
void decode_bulk(Decoder& d);  // cp.async.bulk

// ------------------------------------------------------------------------------------ cp.async

namespace {

// Performs the copies of `lanes`.  A copy may touch memory at any time between issue and wait.
void land(Warp& w, CpAsync& c, uint32_t lanes) {
  lanes &= c.pending;
  c.pending &= ~lanes;
  for_lanes(lanes, [&](int l) {
    if (w.machine->options.race) {
      race::shared_access(w, l, *w.block, uint32_t(c.dst[l] - w.block->shared.data()), c.bytes, Write);
      if (c.source_bytes[l])
        if (Allocation* a = global_memory().find(reinterpret_cast<uint64_t>(c.src[l])))
          race::global_access(w, l, *a, reinterpret_cast<uint64_t>(c.src[l]), c.source_bytes[l], Read);
    }
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
  c.pending = w.mask;
  // The two addresses have their own offsets; the source's is kept with the instruction.
  lane_addresses(w, i, i.r[0], dst);
  auto* s = w.reg<uint64_t>(i.r[1]);
  for_lanes(w.mask, [&](int l) { src[l] = s[l] + uint64_t(int64_t(int32_t(i.target))); });
  void* const cache = i.cache;
  resolve(w, i, Space::shared, dst, c.bytes, Write, c.dst);
  i.cache = cache;
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
  if (w.machine->lands_early()) return land(w, c, all);
  for_lanes(all, [&](int l) { memset(c.dst[l], 0xff, c.bytes); });  // poison until it lands
  w.cp.push_back(c);
}

void cp_commit_run(Warp& w, const Instr&) {
  for_lanes(w.mask, [&](int l) { ++w.cp_group[l]; });
}

void wait_groups(Warp& w, uint32_t lanes, uint32_t pending, bool uncommitted) {
  for (CpAsync& c : w.cp) {
    uint32_t due = 0;
    for_lanes(lanes & c.pending, [&](int l) { due |= uint32_t(c.group[l] + pending < w.cp_group[l] + unsigned(uncommitted)) << l; });
    if (due) land(w, c, due);
  }
  std::erase_if(w.cp, [](const CpAsync& c) { return !c.pending; });
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

}  // namespace

// Work still in flight when a thread ends is almost always a forgotten wait.
void thread_exit_checks(Warp& w, uint32_t lanes) {
  for (const CpAsync& c : w.cp)
    if (c.pending & lanes) w.fault(__builtin_ctz(c.pending & lanes), "thread ends with cp.async copies that were never waited for");
  for (const BulkStore& b : w.bulk)
    if (!b.done && lanes >> b.lane & 1) w.fault(b.lane, "thread ends with bulk copies from shared memory that were never waited for");
  if (!w.wgmma.empty()) w.fault(-1, "thread ends with wgmma operations that were never waited for");
}

// ------------------------------------------------------------------------------------ mbarrier

namespace {

// The 64-bit state kept in shared memory.  Poisoned memory fails the `valid` check.
struct State {
  uint64_t phase : 1, expected : 20, pending : 20;
  int64_t tx : 21;
  uint64_t valid : 2;
};
static_assert(sizeof(State) == 8);
constexpr uint64_t kValid = 1;

State load(const SharedPlace& p) {
  State s;
  memcpy(&s, p.data(), 8);
  if (s.valid != kValid) fail("the mbarrier at shared offset %u is not initialised", p.offset);
  return s;
}

void store(Machine& m, const SharedPlace& p, State s) {
  ++m.progress;
  if (s.pending == 0 && s.tx == 0) {
    s.phase ^= 1;
    s.pending = s.expected;
    MBarrierSync& sync = p.block->mbarriers[p.offset];
    sync.completed = sync.arriving;
    m.wake(p.block->cluster, Fragment::MBarrier, mbarrier_key(p));
  }
  memcpy(p.data(), &s, 8);
}

}  // namespace

uint64_t mbarrier_key(const SharedPlace& p) { return uint64_t(p.block->rank) << 32 | p.offset; }

uint64_t mbarrier_arrive(Warp& w, int lane, const SharedPlace& p, uint32_t count, int64_t tx) {
  State s = load(p);
  uint64_t before;
  memcpy(&before, p.data(), 8);
  if (s.pending < count) w.fault(lane, "mbarrier.arrive: more arrivals (%u) than pending (%u) in this phase", count, unsigned(s.pending));
  s.tx += tx;
  s.pending -= count;
  if (w.machine->options.race) race::release(w, 1u << lane, p.block->mbarriers[p.offset].arriving);
  store(*w.machine, p, s);
  return before;
}
void mbarrier_expect_more(Warp& w, int lane, const SharedPlace& p) {
  State s = load(p);
  if (s.pending == 0xfffff) w.fault(lane, "mbarrier: pending count overflow");
  s.pending += 1;
  memcpy(p.data(), &s, 8);
}
void mbarrier_expect_tx(Warp& w, const SharedPlace& p, int64_t tx) {
  State s = load(p);
  s.tx += tx;
  store(*w.machine, p, s);
}
void mbarrier_complete_tx(Machine& m, const SharedPlace& p, uint32_t bytes) {
  State s = load(p);
  s.tx -= int64_t(bytes);
  if (s.tx < -(1 << 20) + 1) fail("mbarrier at shared offset %u: transaction count underflow", p.offset);
  store(m, p, s);
}
void mbarrier_check(const SharedPlace& p) { load(p); }

void describe_mbarriers(const Block& b, std::string& text) {
  for (const auto& [offset, sync] : b.mbarriers) {
    State s;
    memcpy(&s, b.shared.data() + offset, 8);
    if (s.valid != kValid) continue;
    text += format("\n  block (%u,%u,%u) mbarrier at shared offset %u: phase %u, %u of %u arrivals pending, %ld bytes pending", b.index.x,
                   b.index.y, b.index.z, offset, unsigned(s.phase), unsigned(s.pending), unsigned(s.expected), long(s.tx));
  }
}
void check_mbarriers_at_exit(const Block& b) {
  for (const auto& [offset, sync] : b.mbarriers) {
    State s;
    memcpy(&s, b.shared.data() + offset, 8);
    if (s.valid == kValid && s.tx != 0)
      fail("block (%u,%u,%u) ends while the mbarrier at shared offset %u has %ld bytes pending", b.index.x, b.index.y, b.index.z, offset,
           long(s.tx));
  }
}

namespace {

SharedPlace place(Warp& w, const Instr& i, int lane, uint64_t address) {
  if (Space(i.space) == Space::generic && (address & 0xf000'0000'0000'0000) == kSharedWindow) address -= kSharedWindow;
  return shared_place(w, lane, address, 8, 8);
}

void init_run(Warp& w, const Instr& i) {
  uint64_t address[32];
  lane_addresses(w, i, i.r[0], address);
  for_lanes(w.mask, [&](int l) {
    const SharedPlace p = place(w, i, l, address[l]);
    const uint32_t n = w.reg<uint32_t>(i.r[1])[l];
    if (n < 1 || n > 0xfffff) w.fault(l, "mbarrier.init: count %u", n);
    if (w.machine->options.race) race::shared_access(w, l, *p.block, p.offset, 8, Write);
    State s{0, n, n, 0, kValid};
    memcpy(p.data(), &s, 8);
    p.block->mbarriers[p.offset] = {};
    w.mbarrier_unfenced |= 1u << l;
  });
}
void inval_run(Warp& w, const Instr& i) {
  uint64_t address[32];
  lane_addresses(w, i, i.r[0], address);
  for_lanes(w.mask, [&](int l) {
    const SharedPlace p = place(w, i, l, address[l]);
    load(p);
    memset(p.data(), 0xff, 8);
    p.block->mbarriers.erase(p.offset);
  });
}

enum Arrive : uint64_t { kExpectTx = 1, kDrop = 2, kNoArrive = 4 };
void arrive_run(Warp& w, const Instr& i) {  // r: state or none, address, count or none, tx or none
  uint64_t address[32];
  lane_addresses(w, i, i.r[1], address);
  for_lanes(w.mask, [&](int l) {
    const SharedPlace p = place(w, i, l, address[l]);
    const uint32_t n = i.r[2] == kNone ? 1 : w.reg<uint32_t>(i.r[2])[l];
    const int64_t tx = i.r[3] == kNone ? 0 : w.reg<uint32_t>(i.r[3])[l];
    if (w.machine->options.race) race::shared_access(w, l, *p.block, p.offset, 8, Read | Atomic);
    if (i.flags & kNoArrive) return mbarrier_expect_tx(w, p, tx);
    if (i.flags & kDrop) {
      State s = load(p);
      s.expected -= n;
      memcpy(p.data(), &s, 8);
    }
    const uint64_t before = mbarrier_arrive(w, l, p, n, tx);
    if (i.r[0] != kNone) w.reg<uint64_t>(i.r[0])[l] = before;
  });
  if (w.machine->options.seed > 1 && w.machine->random() % 4 == 0) w.yielded = true;
}

// test_wait and try_wait; the phase is given as parity or as the state that arrive returned.
enum Wait : uint64_t { kTry = 1, kParity = 2 };
void wait_run(Warp& w, const Instr& i) {  // r: p, address, parity or state
  uint64_t address[32];
  lane_addresses(w, i, i.r[1], address);
  uint32_t done = 0;
  uint64_t key = 0;
  bool several = false;  // lanes wait for different mbarriers
  for_lanes(w.mask, [&](int l) {
    const SharedPlace p = place(w, i, l, address[l]);
    const State s = load(p);
    if (w.machine->options.race) race::shared_access(w, l, *p.block, p.offset, 8, Read | Atomic);
    uint64_t parity;
    if (i.flags & kParity)
      parity = w.reg<uint32_t>(i.r[2])[l] & 1;
    else {
      State before;
      memcpy(&before, &w.reg<uint64_t>(i.r[2])[l], 8);
      parity = before.phase;
    }
    if (s.phase != parity) {
      done |= 1u << l;
      if (w.machine->options.race) race::acquire(w, 1u << l, p.block->mbarriers[p.offset].completed);
    }
    if (key && key != mbarrier_key(p)) several = true;
    key = mbarrier_key(p);
  });
  uint32_t& d = w.pred(i.r[0]);
  if (!done && !several && i.flags & kTry) {
    // try_wait suspends the thread, but may also time out.
    if (w.machine->options.seed < 2 || w.machine->random() % 8) return w.wait(Fragment::MBarrier, key, true);
  }
  d = (d & ~w.mask) | done;
  if (!done) w.yielded = true;
}

void mbarrier(Decoder& d) {
  if (d.take("init")) {
    const Space space = d.take_space();
    d.need("b64");
    return d.emit(init_run, {d.address(0, space), d.source(1, Type::u32)});
  }
  if (d.take("inval")) {
    const Space space = d.take_space();
    d.need("b64");
    return d.emit(inval_run, {d.address(0, space)});
  }
  d.ignore({"release", "acquire", "relaxed", "cta", "cluster"});
  if (d.take("test_wait") || d.has("try_wait")) {
    const bool attempt = d.take("try_wait"), parity = d.take("parity");
    const Space space = d.take_space();
    d.need("b64");
    d.instr.flags = (attempt ? uint64_t(kTry) : 0) | (parity ? uint64_t(kParity) : 0);
    return d.emit(wait_run, {d.dest(0), d.address(1, space), d.source(2, parity ? Type::u32 : Type::b64)});
  }
  const bool arrive = d.take("arrive"), drop = d.take("arrive_drop"), expect = d.take("expect_tx");
  if (!arrive && !drop && !expect) d.unsupported();
  d.take("noComplete");
  const Space space = d.take_space();
  d.need("b64");
  d.instr.flags = (expect ? uint64_t(kExpectTx) : 0) | (drop ? uint64_t(kDrop) : 0) | (!arrive && !drop ? uint64_t(kNoArrive) : 0);
  // Operands: [state,] [address] [, count or tx]
  const size_t at = d.operand(0).kind == Operand::Address ? 0 : 1;
  const uint32_t state = at ? d.dest(0) : kNone, address = d.address(at, space);
  const uint32_t last = d.count() > at + 1 ? d.source(at + 1, Type::u32) : kNone;
  d.emit(arrive_run, {state, address, expect ? kNone : last, expect ? last : kNone});
}

constexpr Family kFamilies[] = {
    {"cp", cp, "9.7.9 cp.async, cp.async.bulk",
     ".ca .cg 4/8/16 bytes, zero fill by size or predicate, commit_group, wait_group, wait_all, mbarrier.arrive[.noinc]; "
     "bulk: shared<->global, tensor 1-5d tile load/store, multicast, mbarrier complete_tx, bulk_group, prefetch"},
    {"mbarrier", mbarrier, "9.7.13 mbarrier",
     ".init .inval .arrive .arrive_drop .expect_tx .test_wait .try_wait, .parity or state, remote arrive"},
};

}  // namespace

std::span<const Family> async_families() { return kFamilies; }

}  // namespace sim
