// 9.7.6 Comparison and Selection, 9.7.7 Half Precision Comparison: setp, set, selp, slct.
#include "sim/machine/lanes.h"

namespace sim {

struct FtzF32 {};
template <>
struct Traits<FtzF32> {  // .ftz: subnormal operands count as zero
  using lane = uint32_t;
  using value = float;
  static value get(lane l) {
    const float v = std::bit_cast<float>(l);
    return std::fabs(v) < 0x1p-126f ? 0.0f : v;
  }
};

namespace {

enum Compare : uint8_t { eq, ne, lt, le, gt, ge, num, nan };
enum Combine : uint8_t { replace, both, either, differ };

template <class T, int C, bool Unordered>
void setp_run(Warp& w, const Instr& i) {
  auto *a = w.reg<LaneOf<T>>(i.r[2]), *b = w.reg<LaneOf<T>>(i.r[3]);
  uint32_t r = 0;
  for (int l = 0; l < 32; ++l) {
    const auto x = Traits<T>::get(a[l]), y = Traits<T>::get(b[l]);
    bool p = C == eq ? x == y : C == ne ? x != y : C == lt ? x < y : C == le ? x <= y : C == gt ? x > y : C == ge ? x >= y : false;
    if constexpr (std::is_floating_point_v<Value<T>>) {
      const bool unordered = x != x || y != y;
      if (C == num)
        p = !unordered;
      else if (C == nan)
        p = unordered;
      else if (unordered)
        p = Unordered;
    }
    r |= uint32_t(p) << l;
  }
  uint32_t second = ~r;
  if (const uint64_t combine = i.flags & 3; combine != replace) {
    const uint32_t c = w.pred(i.r[4]) ^ (i.flags & 4 ? ~0u : 0);
    auto mix = [&](uint32_t v) { return combine == both ? v & c : combine == either ? v | c : v ^ c; };
    r = mix(r);
    second = mix(second);
  }
  if (i.r[0] != kNone) {
    uint32_t& p = w.pred(i.r[0]);
    p = (p & ~w.mask) | (r & w.mask);
  }
  if (i.r[1] != kNone) {
    uint32_t& q = w.pred(i.r[1]);
    q = (q & ~w.mask) | (second & w.mask);
  }
}

template <class T>
Handler setp_handler(Compare c, bool unordered) {
  switch (c) {
    case eq:
      return unordered ? setp_run<T, eq, true> : setp_run<T, eq, false>;
    case ne:
      return unordered ? setp_run<T, ne, true> : setp_run<T, ne, false>;
    case lt:
      return unordered ? setp_run<T, lt, true> : setp_run<T, lt, false>;
    case le:
      return unordered ? setp_run<T, le, true> : setp_run<T, le, false>;
    case gt:
      return unordered ? setp_run<T, gt, true> : setp_run<T, gt, false>;
    case ge:
      return unordered ? setp_run<T, ge, true> : setp_run<T, ge, false>;
    case num:
      return setp_run<T, num, false>;
    default:
      return setp_run<T, nan, true>;
  }
}
Handler setp_for(Decoder& d, Type t, Compare c, bool unordered, bool ftz) {
  switch (t) {
    case Type::b16:
    case Type::u16:
      return setp_handler<uint16_t>(c, unordered);
    case Type::s16:
      return setp_handler<int16_t>(c, unordered);
    case Type::b32:
    case Type::u32:
      return setp_handler<uint32_t>(c, unordered);
    case Type::s32:
      return setp_handler<int32_t>(c, unordered);
    case Type::b64:
    case Type::u64:
      return setp_handler<uint64_t>(c, unordered);
    case Type::s64:
      return setp_handler<int64_t>(c, unordered);
    case Type::f32:
      return ftz ? setp_handler<FtzF32>(c, unordered) : setp_handler<float>(c, unordered);
    case Type::f64:
      return setp_handler<double>(c, unordered);
    case Type::f16:
      return setp_handler<F16>(c, unordered);
    case Type::bf16:
      return setp_handler<BF16>(c, unordered);
    default:
      d.unsupported("type");
  }
}

struct Comparison {
  const char* name;
  Compare c;
  bool unordered;
};
constexpr Comparison kComparisons[] = {{"eq", eq, false}, {"ne", ne, false},   {"lt", lt, false}, {"le", le, false}, {"gt", gt, false},
                                       {"ge", ge, false}, {"lo", lt, false},   {"ls", le, false}, {"hi", gt, false}, {"hs", ge, false},
                                       {"equ", eq, true}, {"neu", ne, true},   {"ltu", lt, true}, {"leu", le, true}, {"gtu", gt, true},
                                       {"geu", ge, true}, {"num", num, false}, {"nan", nan, true}};

// The modifiers and the optional predicate that setp and set share.
struct Test {
  const Comparison* kind = nullptr;
  uint32_t combined = kNone;
  bool ftz = false;
};
Test take_test(Decoder& d) {
  Test t;
  for (const Comparison& k : kComparisons)
    if (!t.kind && d.take(k.name)) t.kind = &k;
  if (!t.kind) d.unsupported("comparison");
  const auto combine = d.take_any({"and", "or", "xor"});
  t.ftz = d.take("ftz");
  if (!combine.empty()) {
    bool negated = false;
    t.combined = d.predicate(3, &negated);
    d.instr.flags = (combine == "and" ? both : combine == "or" ? either : differ) | (negated ? 4 : 0);
  }
  return t;
}

bool is_packed(Type t) { return t == Type::f16x2 || t == Type::bf16x2; }

template <class H>
bool compare_halves(const Instr& i, uint32_t a, uint32_t b) {
  const Comparison& k = kComparisons[i.type];
  const double x = Traits<H>::get(a & 0xffff), y = Traits<H>::get(b & 0xffff);
  if (x != x || y != y) return k.c == nan || (k.c != num && k.unordered);
  switch (k.c) {
    case eq:
      return x == y;
    case ne:
      return x != y;
    case lt:
      return x < y;
    case le:
      return x <= y;
    case gt:
      return x > y;
    case ge:
      return x >= y;
    case num:
      return true;
    default:
      return false;
  }
}
bool combined(const Instr& i, const uint32_t* c, int lane, bool v) {
  if (!(i.flags & 3)) return v;
  const bool p = bool(*c >> lane & 1) != bool(i.flags & 4);
  return (i.flags & 3) == both ? v && p : (i.flags & 3) == either ? v || p : v != p;
}

// setp of packed halves: p is the result of the lower pair, q that of the upper.
template <class H>
void setp_packed(Warp& w, const Instr& i) {
  const auto *a = w.reg<uint32_t>(i.r[2]), *b = w.reg<uint32_t>(i.r[3]);
  const uint32_t c = i.r[4] == kNone ? 0 : w.pred(i.r[4]);
  for (int h = 0; h < 2; ++h) {
    uint32_t r = 0;
    for_lanes(w.mask, [&](int l) { r |= uint32_t(combined(i, &c, l, compare_halves<H>(i, a[l] >> 16 * h, b[l] >> 16 * h))) << l; });
    if (i.r[h] != kNone) w.pred(i.r[h]) = (w.pred(i.r[h]) & ~w.mask) | r;
  }
}

void setp(Decoder& d) {
  const Test test = take_test(d);
  const Type t = d.take_type();
  const Operand& to = d.operand(0);
  const bool pair = to.kind == Operand::Pair;
  Handler h;
  if (is_packed(t)) {
    d.instr.type = uint8_t(test.kind - kComparisons);
    h = t == Type::f16x2 ? setp_packed<F16> : setp_packed<BF16>;
  } else {
    h = setp_for(d, t, test.kind->c, test.kind->unordered, test.ftz);
  }
  const Type operands = is_packed(t) ? Type::b32 : t;
  d.emit(h, {d.dest(pair ? to.parts[0] : to), pair ? d.dest(to.parts[1]) : kNone, d.source(1, operands), d.source(2, operands),
             test.combined});
}

// ---- set: all ones, or 1.0 in a floating-point type ----

// The value that stands for true.
uint32_t true_value(Decoder& d, Type t) {
  switch (t) {
    case Type::u32:
    case Type::s32:
    case Type::u16:
    case Type::s16:
      return ~0u;
    case Type::f32:
      return 0x3f800000;
    case Type::f16:
    case Type::f16x2:
      return 0x3c003c00;
    case Type::bf16:
    case Type::bf16x2:
      return 0x3f803f80;
    default:
      d.unsupported("type of the result");
  }
}

// Compares as setp does, into a predicate of its own.  r: d, then setp's operands; imm: setp's handler.
void set_run(Warp& w, const Instr& i) {
  Instr test = i;
  test.r = i.r + 1;
  reinterpret_cast<Handler>(i.imm)(w, test);
  const uint32_t p = w.pred(i.r[1]);
  auto* d = w.reg<uint32_t>(i.r[0]);
  each_lane(w.mask, [&](int l) { d[l] = p >> l & 1 ? i.target : 0; });
}
template <class H>
void set_packed(Warp& w, const Instr& i) {  // r: d, a, b, c; imm: true in both halves
  const auto *a = w.reg<uint32_t>(i.r[1]), *b = w.reg<uint32_t>(i.r[2]);
  const uint32_t c = i.r[3] == kNone ? 0 : w.pred(i.r[3]);
  for_lanes(w.mask, [&](int l) {
    uint32_t r = 0;
    for (int h = 0; h < 32; h += 16)
      if (combined(i, &c, l, compare_halves<H>(i, a[l] >> h, b[l] >> h))) r |= uint32_t(i.imm) & 0xffffu << h;
    w.reg<uint32_t>(i.r[0])[l] = r;
  });
}
void set(Decoder& d) {
  const Test test = take_test(d);
  const Type to = d.take_type(), t = d.take_type();
  const uint32_t value = true_value(d, to);
  if (is_packed(t)) {
    d.instr.type = uint8_t(test.kind - kComparisons);
    d.instr.imm = int64_t(value);
    return d.emit(t == Type::f16x2 ? set_packed<F16> : set_packed<BF16>,
                  {d.dest(0), d.source(1, Type::b32), d.source(2, Type::b32), test.combined});
  }
  d.instr.imm = reinterpret_cast<int64_t>(setp_for(d, t, test.kind->c, test.kind->unordered, test.ftz));
  d.instr.target = ptx::bits(to) == 16 ? value & 0xffff : value;
  d.emit(set_run, {d.dest(0), d.scratch_predicate(), kNone, d.source(1, t), d.source(2, t), test.combined});
}

template <class L>
void selp_run(Warp& w, const Instr& i) {
  auto *d = w.reg<L>(i.r[0]), *a = w.reg<L>(i.r[1]), *b = w.reg<L>(i.r[2]);
  const uint32_t p = w.pred(i.r[3]) ^ (i.flags ? ~0u : 0);
  each_lane(w.mask, [&](int l) { d[l] = p >> l & 1 ? a[l] : b[l]; });
}
void selp(Decoder& d) {
  const Type t = d.take_type();
  bool negated;
  const uint32_t p = d.predicate(3, &negated);
  d.instr.flags = negated;
  d.emit(is_wide(t) ? selp_run<uint64_t> : selp_run<uint32_t>, {d.dest(0), d.source(1, t), d.source(2, t), p});
}
template <class L>
void slct_run(Warp& w, const Instr& i) {
  auto *d = w.reg<L>(i.r[0]), *a = w.reg<L>(i.r[1]), *b = w.reg<L>(i.r[2]);
  auto* c = w.reg<uint32_t>(i.r[3]);
  each_lane(w.mask, [&](int l) {
    const bool first = i.flags ? std::bit_cast<float>(c[l]) >= 0 : int32_t(c[l]) >= 0;
    d[l] = first ? a[l] : b[l];
  });
}
void slct(Decoder& d) {
  d.take("ftz");
  const Type t = d.take_type(), c = d.take_type();
  d.instr.flags = c == Type::f32;
  d.emit(is_wide(t) ? slct_run<uint64_t> : slct_run<uint32_t>, {d.dest(0), d.source(1, t), d.source(2, t), d.source(3, c)});
}

constexpr Family kFamilies[] = {
    {"setp", setp, "9.7.6, 9.7.7", "all comparisons and types; .and .or .xor, p|q, .ftz"},
    {"set", set, "9.7.6, 9.7.7", "all comparisons and types; results .u32 .s32 .f32, .f16 .bf16 and pairs"},
    {"selp", selp, "9.7.6", "all types"},
    {"slct", slct, "9.7.6", "all types"},
};

}  // namespace

std::span<const Family> compare_families() { return kFamilies; }

}  // namespace sim
