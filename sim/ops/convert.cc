// 9.7.9 cvt.
#include "sim/machine/lanes.h"
#include "sim/ops/formats.h"

namespace sim {
namespace {

struct Conversion {  // kept in Instr::flags
  Type to, from;
  Rounding rounding;
  bool integral;  // .rni .rzi .rmi .rpi
  bool sat, ftz, relu, satfinite;
};
static_assert(sizeof(Conversion) == sizeof(Instr::flags));
Conversion conversion_of(const Instr& i) { return std::bit_cast<Conversion>(i.flags); }

double to_double(uint64_t lane, Type t) {
  switch (t) {
    case Type::f16:
      return f16_to_float(uint16_t(lane));
    case Type::bf16:
      return bf16_to_float(uint16_t(lane));
    case Type::f32:
    case Type::tf32:
      return std::bit_cast<float>(uint32_t(lane));
    case Type::e4m3:
    case Type::e5m2:
      return fp8_to_float(uint8_t(lane), t);
    case Type::e2m1:
    case Type::e2m3:
    case Type::e3m2:
    case Type::ue8m0:
      return narrow_to_double(uint8_t(lane), t);
    default:
      return std::bit_cast<double>(lane);
  }
}

const Format& format_of(Type t) {
  switch (t) {
    case Type::f16:
      return kF16;
    case Type::bf16:
      return kBf16;
    case Type::tf32:
      return kTf32;
    case Type::f32:
      return kF32;
    default:
      return kF64;
  }
}

// The bits of v, which is a value of the type already.
uint64_t pack(double v, Type t) {
  switch (t) {
    case Type::f16:
      return pack_f16(v);
    case Type::bf16:
      return pack_bf16(v);
    case Type::f32:
    case Type::tf32:
      return v != v ? 0x7fffffffu : std::bit_cast<uint32_t>(float(v));
    default:
      return v != v ? 0x7fff'ffff'ffff'ffffull : std::bit_cast<uint64_t>(v);
  }
}

uint64_t from_double(double v, const Conversion& c) {
  if (c.relu && !(v > 0) && v == v) v = 0;
  if (c.sat) v = v >= 1 ? 1 : v > 0 ? v : 0;  // NaN becomes 0
  if (c.to == Type::e4m3 || c.to == Type::e5m2) return double_to_fp8(v, c.to);
  if (is_narrow(c.to)) return double_to_narrow(v, c.to, c.rounding);
  const Format& f = format_of(c.to);
  v = round_to(v, f, c.rounding);
  if (c.satfinite && std::isinf(v)) v = std::copysign(f.largest, v);
  if (c.ftz && c.to == Type::f32 && std::fabs(v) < 0x1p-126) v = std::copysign(0.0, v);
  return pack(v, c.to);
}

double round_integral(double v, Rounding r) {
  switch (r) {
    case Rounding::Zero:
      return std::trunc(v);
    case Rounding::Down:
      return std::floor(v);
    case Rounding::Up:
      return std::ceil(v);
    default:
      return std::nearbyint(v);
  }
}

// Saturates.  NaN is 0, or the sign bit alone where either side has 64 bits.
uint64_t double_to_integer(double v, Type from, Type t) {
  const int n = ptx::bits(t);
  if (v != v) return n < 64 && from != Type::f64 ? 0 : (ptx::is_signed(t) ? ~0ull : 1ull) << (n - 1);
  if (ptx::is_signed(t)) {
    const double limit = std::ldexp(1.0, n - 1);
    if (v >= limit) return (1ull << (n - 1)) - 1;
    if (v < -limit) return ~0ull << (n - 1);
    return uint64_t(int64_t(v));
  }
  if (v <= 0) return 0;
  if (v >= std::ldexp(1.0, n)) return n == 64 ? ~0ull : (1ull << n) - 1;
  return uint64_t(v);
}

uint64_t extend(uint64_t lane, Type t) {
  const int n = ptx::bits(t);
  if (n == 64) return lane;
  lane &= (1ull << n) - 1;
  if (ptx::is_signed(t) && lane >> (n - 1)) lane |= ~0ull << n;
  return lane;
}

bool is_floating(Type t) { return ptx::is_float(t) || t == Type::e4m3 || t == Type::e5m2 || is_narrow(t); }

uint64_t convert(uint64_t lane, const Conversion& c) {
  const bool into_float = is_floating(c.to);
  if (is_floating(c.from)) {
    double v = to_double(lane, c.from);
    if (c.ftz && c.from == Type::f32 && std::fabs(v) < 0x1p-126) v = std::copysign(0.0, v);
    if (c.integral) v = round_integral(v, c.rounding);
    return into_float ? from_double(v, c) : double_to_integer(v, c.from, c.to);
  }
  const uint64_t v = extend(lane, c.from);
  if (into_float) {
    const bool negative = ptx::is_signed(c.from) && int64_t(v) < 0;
    const double d = round_integer(negative, negative ? 0 - v : v, format_of(c.to), c.rounding);
    return c.sat ? from_double(d, c) : pack(d, c.to);
  }
  if (c.sat) {  // integer to an integer of another range
    const int n = ptx::bits(c.to);
    const __int128 x = ptx::is_signed(c.from) ? __int128(int64_t(v)) : __int128(v);
    const __int128 low = ptx::is_signed(c.to) ? -(__int128(1) << (n - 1)) : 0;
    const __int128 high = ptx::is_signed(c.to) ? (__int128(1) << (n - 1)) - 1 : (__int128(1) << n) - 1;
    return uint64_t(x < low ? low : x > high ? high : x);
  }
  return extend(v, c.to);  // sign-extends into a wider register
}

template <class To, class From>
void cvt_lanes(Warp& w, const Instr& i) {
  const Conversion c = conversion_of(i);
  auto* d = w.reg<To>(i.r[0]);
  auto* a = w.reg<From>(i.r[1]);
  for_lanes(w.mask, [&](int l) { d[l] = To(convert(a[l], c)); });
}

// ---- common exact or single-rounding conversions ----

template <class To, class From>
void cvt_simple(Warp& w, const Instr& i) {
  auto* d = w.reg<LaneOf<To>>(i.r[0]);
  auto* a = w.reg<LaneOf<From>>(i.r[1]);
  each_lane(w.mask, [&](int l) { d[l] = Traits<To>::put(To(Traits<From>::get(a[l]))); });
}
void cvt_bf16_f32(Warp& w, const Instr& i) {
  auto *d = w.reg<uint32_t>(i.r[0]), *a = w.reg<uint32_t>(i.r[1]);
  each_lane(w.mask, [&](int l) { d[l] = float_to_bf16(std::bit_cast<float>(a[l])); });
}
void cvt_f32_bf16(Warp& w, const Instr& i) {
  auto *d = w.reg<uint32_t>(i.r[0]), *a = w.reg<uint32_t>(i.r[1]);
  each_lane(w.mask, [&](int l) { d[l] = a[l] << 16; });
}
void cvt_f32_f16(Warp& w, const Instr& i) {
  auto *d = w.reg<uint32_t>(i.r[0]), *a = w.reg<uint32_t>(i.r[1]);
  each_lane(w.mask, [&](int l) { d[l] = std::bit_cast<uint32_t>(f16_to_float(uint16_t(a[l]))); });
}
void cvt_bf16x2_f32(Warp& w, const Instr& i) {  // d = {a, b}: a is the upper half
  auto *d = w.reg<uint32_t>(i.r[0]), *a = w.reg<uint32_t>(i.r[1]), *b = w.reg<uint32_t>(i.r[2]);
  each_lane(w.mask,
            [&](int l) { d[l] = uint32_t(float_to_bf16(std::bit_cast<float>(a[l]))) << 16 | float_to_bf16(std::bit_cast<float>(b[l])); });
}

Handler simple_handler(Decoder& d, const Conversion& c, bool wide_from) {
  if (c.sat || c.relu || c.satfinite || c.ftz || c.integral || c.rounding != Rounding::Nearest) return nullptr;
  const bool to64 = c.to == Type::u64 || c.to == Type::s64;
  if (c.to == Type::bf16 && c.from == Type::f32) return cvt_bf16_f32;
  if (c.to == Type::f32 && c.from == Type::bf16) return cvt_f32_bf16;
  if (c.to == Type::f32 && c.from == Type::f16) return cvt_f32_f16;
  if (c.to == Type::f32 && c.from == Type::s32 && !wide_from) return cvt_simple<float, int32_t>;
  if (c.to == Type::f32 && c.from == Type::u32 && !wide_from) return cvt_simple<float, uint32_t>;
  if (to64 && c.from == Type::u32 && !wide_from) return cvt_simple<uint64_t, uint32_t>;
  if (to64 && c.from == Type::s32 && !wide_from) return cvt_simple<int64_t, int32_t>;
  if ((c.to == Type::u32 || c.to == Type::s32) && (c.from == Type::u64 || c.from == Type::s64) && !d.wide(d.operand(0)))
    return cvt_simple<uint32_t, uint64_t>;
  return nullptr;
}

// ---- packed conversions: two elements of half the register's width ----

struct PairType {
  Type pair, element;
  int bits;
};
constexpr PairType kPairs[] = {{Type::f16x2, Type::f16, 16},  {Type::bf16x2, Type::bf16, 16}, {Type::e4m3x2, Type::e4m3, 8},
                               {Type::e5m2x2, Type::e5m2, 8}, {Type::e2m1x2, Type::e2m1, 4},  {Type::e2m3x2, Type::e2m3, 8},
                               {Type::e3m2x2, Type::e3m2, 8}, {Type::ue8m0x2, Type::ue8m0, 8}};
const PairType* pair_type(Type t) {
  for (const PairType& p : kPairs)
    if (p.pair == t) return &p;
  return nullptr;
}

// From two f32 registers; the first operand is the upper element.  i.type: bits of an element.
void cvt_pair(Warp& w, const Instr& i) {
  const Conversion c = conversion_of(i);
  auto *d = w.reg<uint32_t>(i.r[0]), *a = w.reg<uint32_t>(i.r[1]), *b = w.reg<uint32_t>(i.r[2]);
  const uint32_t mask = (1u << i.type) - 1;
  for_lanes(w.mask, [&](int l) { d[l] = uint32_t(convert(a[l], c) & mask) << i.type | uint32_t(convert(b[l], c) & mask); });
}
// From one register of two elements.  i.type, i.count: bits of an element of the result and of the source.
void cvt_packed(Warp& w, const Instr& i) {
  const Conversion c = conversion_of(i);
  auto *d = w.reg<uint32_t>(i.r[0]), *a = w.reg<uint32_t>(i.r[1]);
  const uint32_t to = (1u << i.type) - 1, from = (1u << i.count) - 1;
  for_lanes(w.mask,
            [&](int l) { d[l] = uint32_t(convert(a[l] >> i.count & from, c) & to) << i.type | uint32_t(convert(a[l] & from, c) & to); });
}

void cvt(Decoder& d) {
  Conversion c{};
  constexpr struct {
    std::string_view name;
    Rounding mode;
    bool integral;
  } modes[] = {{"rn", Rounding::Nearest, false}, {"rz", Rounding::Zero, false},  {"rm", Rounding::Down, false},
               {"rp", Rounding::Up, false},      {"rna", Rounding::Away, false}, {"rni", Rounding::Nearest, true},
               {"rzi", Rounding::Zero, true},    {"rmi", Rounding::Down, true},  {"rpi", Rounding::Up, true}};
  for (auto& m : modes)
    if (d.take(m.name)) c.rounding = m.mode, c.integral = m.integral;
  c.ftz = d.take("ftz");
  c.sat = d.take("sat");
  c.relu = d.take("relu");
  c.satfinite = d.take("satfinite");
  c.to = d.take_type();
  c.from = d.take_type();
  auto finish = [&](Handler h, const std::vector<uint32_t>& ops) {
    d.instr.flags = std::bit_cast<uint64_t>(c);
    d.emit(h, ops);
  };
  const uint32_t dst = d.dest(0);
  if (const PairType* to = pair_type(c.to)) {
    d.instr.type = uint8_t(to->bits);
    const PairType* from = pair_type(c.from);
    const bool fast = c.to == Type::bf16x2 && !c.relu && !c.satfinite && c.rounding == Rounding::Nearest;
    c.to = to->element;
    if (c.from == Type::f32) return finish(fast ? cvt_bf16x2_f32 : cvt_pair, {dst, d.source(1, Type::f32), d.source(2, Type::f32)});
    if (!from || from->bits == to->bits) d.unsupported("types of a packed conversion");
    c.from = from->element;
    d.instr.count = uint8_t(from->bits);
    return finish(cvt_packed, {dst, d.source(1, Type::b32)});
  }
  if (pair_type(c.from)) d.unsupported("types of a packed conversion");
  // Integers may come from and go to wider registers.
  const Type wide_from = ptx::is_integer(c.from) && d.wide(d.operand(1))     ? Type::b64
                         : ptx::is_integer(c.from) && ptx::bits(c.from) < 64 ? Type::b32
                                                                             : c.from;
  const uint32_t a = d.source(1, wide_from);
  const bool wd = d.wide(d.operand(0)), wf = is_wide(wide_from);
  if (Handler h = simple_handler(d, c, wf)) return finish(h, {dst, a});
  if (wd)
    finish(wf ? cvt_lanes<uint64_t, uint64_t> : cvt_lanes<uint64_t, uint32_t>, {dst, a});
  else
    finish(wf ? cvt_lanes<uint32_t, uint64_t> : cvt_lanes<uint32_t, uint32_t>, {dst, a});
}

// ---- cvt.pack: two s32, saturated to narrower integers, below the bits of c ----

void pack_run(Warp& w, const Instr& i) {  // r: d, a, b, c or none
  auto *d = w.reg<uint32_t>(i.r[0]), *a = w.reg<uint32_t>(i.r[1]), *b = w.reg<uint32_t>(i.r[2]);
  const Conversion c = conversion_of(i);
  const int n = ptx::bits(c.to);
  const uint32_t mask = n == 32 ? ~0u : (1u << n) - 1;
  for_lanes(w.mask, [&](int l) {
    const uint32_t low = uint32_t(convert(b[l], c)) & mask, high = uint32_t(convert(a[l], c)) & mask;
    uint32_t v = high << n | low;
    if (i.r[3] != kNone) v |= uint32_t(uint64_t(w.reg<uint32_t>(i.r[3])[l]) << 2 * n);
    d[l] = v;
  });
}
void cvt_or_pack(Decoder& d) {
  if (!d.take("pack")) return cvt(d);
  Conversion c{};
  d.need("sat");
  c.sat = true;
  c.to = d.take_type();
  c.from = d.take_type();
  if (c.from != Type::s32) d.unsupported("cvt.pack from another type than .s32");
  if (d.count() > 3) d.need("b32");
  d.instr.flags = std::bit_cast<uint64_t>(c);
  const Type t = Type::b32;
  d.emit(pack_run, {d.dest(0), d.source(1, t), d.source(2, t), d.count() > 3 ? d.source(3, t) : kNone});
}

constexpr Family kFamilies[] = {
    {"cvt", cvt_or_pack, "9.7.9 cvt, cvt.pack",
     "integers, f16, bf16, f32, f64, tf32; f16x2, bf16x2, e4m3x2, e5m2x2, e2m1x2, e2m3x2, e3m2x2, ue8m0x2; .rn .rz .rm .rp .rna .rni .rzi "
     ".rmi .rpi .sat .relu .satfinite "
     ".ftz; .pack"},
};

}  // namespace

std::span<const Family> convert_families() { return kFamilies; }

}  // namespace sim
