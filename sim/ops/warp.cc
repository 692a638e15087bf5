// 9.7.9 shfl.sync; 9.7.13 vote.sync, match.sync, activemask, redux.sync, elect.sync.
#include "sim/machine/lanes.h"

namespace sim {
namespace {

// Calls f(lanes) for every group of executing lanes with the same member mask, once all live lanes of
// the mask are here.  Other lanes keep waiting.
template <class F>
void for_members(Warp& w, uint32_t mask_slot, F&& f) {
  const auto* m = w.reg<uint32_t>(mask_slot);
  if (w.mask == ~0u) {  // usually the whole warp takes part
    uint32_t all = ~0u;
    for (int l = 0; l < 32; ++l) all &= m[l];
    if (all == ~0u) return f(all);
  }
  uint32_t left = w.mask, waiting = 0;
  while (left) {
    const int first = __builtin_ctz(left);
    uint32_t group = 0;
    for_lanes(left, [&](int l) { group |= uint32_t(m[l] == m[first]) << l; });
    left &= ~group;
    if (group & ~m[first]) w.fault(__builtin_ctz(group & ~m[first]), "the executing lane is not in the member mask %08x", m[first]);
    if (m[first] & w.live & ~group)
      waiting |= group;
    else
      f(group);
  }
  if (waiting) {
    w.mask = waiting;
    w.wait(Fragment::Converge, w.pc, true);
  }
}

enum Mode : uint8_t { up, down, bfly, idx };

void shfl_run(Warp& w, const Instr& i) {  // r: d, p, a, b, c, mask
  for_members(w, i.r[5], [&](uint32_t group) {
    const auto *a = w.reg<uint32_t>(i.r[2]), *b = w.reg<uint32_t>(i.r[3]), *c = w.reg<uint32_t>(i.r[4]);
    uint32_t result[32], valid = 0;
    for_lanes(group, [&](int l) {
      const int bval = int(b[l] & 31), cval = int(c[l] & 31), segment = int(c[l] >> 8 & 31);
      const int max_lane = (l & segment) | (cval & ~segment), min_lane = l & segment;
      int j = l;
      bool ok = false;
      switch (Mode(i.flags)) {
        case up:
          j = l - bval;
          ok = j >= max_lane;
          break;
        case down:
          j = l + bval;
          ok = j <= max_lane;
          break;
        case bfly:
          j = l ^ bval;
          ok = j <= max_lane;
          break;
        case idx:
          j = min_lane | (bval & ~segment);
          ok = j <= max_lane;
          break;
      }
      if (!ok) j = l;
      // A source lane that does not take part gives an undefined value.
      result[l] = group >> j & 1 ? a[j] : 0xffffffffu;
      valid |= uint32_t(ok) << l;
    });
    for_lanes(group, [&](int l) { w.reg<uint32_t>(i.r[0])[l] = result[l]; });
    if (i.r[1] != kNone) w.pred(i.r[1]) = (w.pred(i.r[1]) & ~group) | valid;
  });
}
void shfl(Decoder& d) {
  d.need("sync");
  const auto mode = d.take_any({"up", "down", "bfly", "idx"});
  if (mode.empty()) d.unsupported("mode");
  d.instr.flags = mode == "up" ? up : mode == "down" ? down : mode == "bfly" ? bfly : idx;
  d.need("b32");
  const Operand& to = d.operand(0);
  const bool pair = to.kind == Operand::Pair;
  d.emit(shfl_run, {d.dest(pair ? to.parts[0] : to), pair ? d.dest(to.parts[1]) : kNone, d.source(1, Type::b32), d.source(2, Type::b32),
                    d.source(3, Type::b32), d.source(4, Type::b32)});
}

enum Vote : uint8_t { all, any, uni, ballot };
void vote_run(Warp& w, const Instr& i) {  // r: d, a, mask
  for_members(w, i.r[2], [&](uint32_t group) {
    const uint32_t p = (w.pred(i.r[1]) ^ (i.flags & 8 ? ~0u : 0)) & group;
    const Vote kind = Vote(i.flags & 7);
    if (kind == ballot) return for_lanes(group, [&](int l) { w.reg<uint32_t>(i.r[0])[l] = p; });
    const bool v = kind == all ? p == group : kind == any ? p != 0 : p == 0 || p == group;
    w.pred(i.r[0]) = (w.pred(i.r[0]) & ~group) | (v ? group : 0);
  });
}
void vote(Decoder& d) {
  d.need("sync");
  const auto kind = d.take_any({"all", "any", "uni", "ballot"});
  d.take_type();
  bool negated;
  const uint32_t p = d.predicate(1, &negated);
  d.instr.flags = (kind == "all" ? all : kind == "any" ? any : kind == "uni" ? uni : ballot) | (negated ? 8 : 0);
  d.emit(vote_run, {d.dest(0), p, d.source(2, Type::b32)});
}

template <class L>
void match_run(Warp& w, const Instr& i) {  // r: d, p, a, mask
  for_members(w, i.r[3], [&](uint32_t group) {
    const L* a = w.reg<L>(i.r[2]);
    uint32_t result[32], same_all = 0;
    for_lanes(group, [&](int l) {
      uint32_t same = 0;
      for_lanes(group, [&](int k) { same |= uint32_t(a[k] == a[l]) << k; });
      if (i.flags) same = same == group ? group : 0;
      if (same == group) same_all |= 1u << l;
      result[l] = same;
    });
    for_lanes(group, [&](int l) { w.reg<uint32_t>(i.r[0])[l] = result[l]; });
    if (i.r[1] != kNone) w.pred(i.r[1]) = (w.pred(i.r[1]) & ~group) | same_all;
  });
}
void match(Decoder& d) {
  d.instr.flags = d.take("all");
  if (!d.instr.flags) d.need("any");
  d.need("sync");
  const Type t = d.take_type();
  const Operand& to = d.operand(0);
  const bool pair = to.kind == Operand::Pair;
  d.emit(is_wide(t) ? match_run<uint64_t> : match_run<uint32_t>,
         {d.dest(pair ? to.parts[0] : to), pair ? d.dest(to.parts[1]) : kNone, d.source(1, t), d.source(2, Type::b32)});
}

void activemask_run(Warp& w, const Instr& i) {
  const uint32_t m = w.mask;
  for_lanes(m, [&](int l) { w.reg<uint32_t>(i.r[0])[l] = m; });
}
void activemask(Decoder& d) {
  d.need("b32");
  d.emit(activemask_run, {d.dest(0)});
}

enum Reduce : uint8_t { r_add, r_min, r_max, r_and, r_or, r_xor };

// redux.f32: a NaN loses unless .NaN is given.
constexpr uint64_t kReduceAbs = 0x100, kReduceNan = 0x200;
void redux_float_run(Warp& w, const Instr& i) {  // r: d, a, mask
  for_members(w, i.r[2], [&](uint32_t group) {
    const auto* a = w.reg<uint32_t>(i.r[1]);
    float v = NAN;
    bool any_nan = false;
    for_lanes(group, [&](int l) {
      float x = std::bit_cast<float>(a[l]);
      if (i.flags & kReduceAbs) x = std::fabs(x);
      any_nan |= x != x;
      const bool before = (i.flags & 0xff) == r_min ? x < v || (x == v && std::signbit(x)) : x > v || (x == v && !std::signbit(x));
      if (v != v || before) v = x;
    });
    if (any_nan && i.flags & kReduceNan) v = NAN;
    for_lanes(group, [&](int l) { w.reg<uint32_t>(i.r[0])[l] = Traits<float>::put(v); });
  });
}
template <class T>
void redux_run(Warp& w, const Instr& i) {  // r: d, a, mask
  for_members(w, i.r[2], [&](uint32_t group) {
    const auto* a = w.reg<uint32_t>(i.r[1]);
    T v = Traits<T>::get(a[__builtin_ctz(group)]);
    for_lanes(group & (group - 1), [&](int l) {
      const T x = Traits<T>::get(a[l]);
      switch (Reduce(i.flags)) {
        case r_add:
          v = T(uint32_t(v) + uint32_t(x));
          return;
        case r_and:
          v &= x;
          return;
        case r_or:
          v |= x;
          return;
        case r_xor:
          v ^= x;
          return;
        default:
          v = Reduce(i.flags) == r_min ? std::min(v, x) : std::max(v, x);
      }
    });
    for_lanes(group, [&](int l) { w.reg<uint32_t>(i.r[0])[l] = Traits<T>::put(v); });
  });
}
void redux(Decoder& d) {
  d.need("sync");
  const auto op = d.take_any({"add", "min", "max", "and", "or", "xor"});
  d.instr.flags = op == "add" ? r_add : op == "min" ? r_min : op == "max" ? r_max : op == "and" ? r_and : op == "or" ? r_or : r_xor;
  const Type t = d.take_type();
  if (t == Type::f32) {
    if (d.instr.flags != r_min && d.instr.flags != r_max) d.unsupported("operation");
    d.instr.flags |= (d.take("abs") ? kReduceAbs : 0) | (d.take("NaN") ? kReduceNan : 0);
  }
  d.emit(t == Type::s32   ? redux_run<int32_t>
         : t == Type::f32 ? redux_float_run
                          : redux_run<uint32_t>,
         {d.dest(0), d.source(1, t), d.source(2, Type::b32)});
}

void elect_run(Warp& w, const Instr& i) {  // r: d, p, mask
  for_members(w, i.r[2], [&](uint32_t group) {
    // Any member may be elected, but the same one every time.
    const int leader = w.machine->options.seed & 1 ? 31 - std::countl_zero(group) : __builtin_ctz(group);
    if (i.r[0] != kNone) for_lanes(group, [&](int l) { w.reg<uint32_t>(i.r[0])[l] = uint32_t(leader); });
    w.pred(i.r[1]) = (w.pred(i.r[1]) & ~group) | 1u << leader;
  });
}
void elect(Decoder& d) {
  d.need("sync");
  const Operand& to = d.operand(0);
  if (to.kind != Operand::Pair) d.unsupported("expected d|p");
  d.emit(elect_run, {d.dest(to.parts[0]), d.dest(to.parts[1]), d.source(1, Type::b32)});
}

constexpr Family kFamilies[] = {
    {"shfl", shfl, "9.7.9 shfl.sync", ".up .down .bfly .idx, d|p"},
    {"vote", vote, "9.7.13 vote.sync", ".all .any .uni .ballot"},
    {"match", match, "9.7.13 match.sync", ".any .all, .b32 .b64"},
    {"activemask", activemask, "9.7.13 activemask", ".b32"},
    {"redux", redux, "9.7.13 redux.sync", ".add .min .max .and .or .xor, .u32 .s32 .b32; f32 .min .max .abs .NaN"},
    {"elect", elect, "9.7.13 elect.sync", "all"},
};

}  // namespace

std::span<const Family> warp_families() { return kFamilies; }

}  // namespace sim
