// 9.7.13 mbarrier.
#include "sim/machine/mbarrier.h"

#include "sim/ops/access.h"

namespace sim {

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
  if (s.valid != kValid) fail("the mbarrier at %s is not initialised", shared_name(*p.block, p.offset).c_str());
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
  if (s.pending < count)
    w.fault(lane, "mbarrier.arrive at %s: more arrivals (%u) than pending (%u of %u) in this phase",
            shared_name(*p.block, p.offset).c_str(), count, unsigned(s.pending), unsigned(s.expected));
  s.tx += tx;
  s.pending -= count;
  order_release(w, 1u << lane, p.block->mbarriers[p.offset].arriving);
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
  if (s.tx < -(1 << 20) + 1) fail("mbarrier at %s: transaction count underflow", shared_name(*p.block, p.offset).c_str());
  store(m, p, s);
}
void mbarrier_check(const SharedPlace& p) { load(p); }

void describe_mbarriers(const Block& b, std::string& text) {
  for (const auto& [offset, sync] : b.mbarriers) {
    State s;
    memcpy(&s, b.shared.data() + offset, 8);
    if (s.valid != kValid) continue;
    text += format("\n  block (%u,%u,%u) mbarrier at %s: phase %u, %u of %u arrivals pending, %ld bytes pending%s", b.index.x, b.index.y,
                   b.index.z, shared_name(b, offset).c_str(), unsigned(s.phase), unsigned(s.pending), unsigned(s.expected), long(s.tx),
                   s.tx < 0 ? " (more arrived than expected)" : "");
  }
}
void check_mbarriers_at_exit(const Block& b) {
  for (const auto& [offset, sync] : b.mbarriers) {
    State s;
    memcpy(&s, b.shared.data() + offset, 8);
    if (s.valid == kValid && s.tx != 0)
      fail("block (%u,%u,%u) of %s ends while the mbarrier at %s has %ld bytes pending", b.index.x, b.index.y, b.index.z,
           readable(b.warps[0].program->function->name).c_str(), shared_name(b, offset).c_str(), long(s.tx));
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
    touch_shared(w, l, p, 8, Write);
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
      order_acquire(w, 1u << l, p.block->mbarriers[p.offset].completed);
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

// 9.7.13 mbarrier.pending_count: of the state that arrive returned.
void pending_run(Warp& w, const Instr& i) {
  for_lanes(w.mask, [&](int l) {
    State s;
    memcpy(&s, &w.reg<uint64_t>(i.r[1])[l], 8);
    w.reg<uint32_t>(i.r[0])[l] = uint32_t(s.pending);
  });
}
void complete_run(Warp& w, const Instr& i) {  // r: address, bytes
  uint64_t address[32];
  lane_addresses(w, i, i.r[0], address);
  for_lanes(w.mask, [&](int l) { mbarrier_complete_tx(*w.machine, place(w, i, l, address[l]), w.reg<uint32_t>(i.r[1])[l]); });
}

void mbarrier(Decoder& d) {
  if (d.take("pending_count")) {
    d.need("b64");
    return d.emit(pending_run, {d.dest(0), d.source(1, Type::b64)});
  }
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
  if (d.take("complete_tx")) {
    const Space space = d.take_space();
    d.need("b64");
    return d.emit(complete_run, {d.address(0, space), d.source(1, Type::u32)});
  }
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
    {"mbarrier", mbarrier, "9.7.13 mbarrier",
     ".init .inval .arrive .arrive_drop .expect_tx .complete_tx .test_wait .try_wait .pending_count, .parity or state, remote arrive"},
};

}  // namespace

std::span<const Family> mbarrier_families() { return kFamilies; }

}  // namespace sim
