// 9.7.9 mov, cvt, cvta; 9.7.6 setp, set, selp, slct; 16-bit floating-point formats.
#include <chrono>

#include "sim/machine/lanes.h"

namespace sim {

// ---- 16-bit formats, round to nearest even ----

float f16_to_float(uint16_t h) {
  const uint32_t sign = uint32_t(h & 0x8000) << 16, exponent = h >> 10 & 31, fraction = h & 1023;
  if (exponent == 31) return std::bit_cast<float>(sign | 0x7f800000u | fraction << 13);
  if (exponent) return std::bit_cast<float>(sign | (exponent + 112) << 23 | fraction << 13);
  const float v = float(fraction) * 0x1p-24f;
  return sign ? -v : v;
}
uint16_t float_to_bf16(float f) {
  uint32_t b = std::bit_cast<uint32_t>(f);
  if ((b & 0x7fffffff) > 0x7f800000) return 0x7fff;
  return uint16_t((b + 0x7fff + (b >> 16 & 1)) >> 16);
}

namespace {

// Rounds a double to a binary format with `precision` significant bits and smallest normal exponent
// `emin`; overflow gives infinity.
enum class Round : uint8_t { Nearest, Zero, Away };
double round_to(double v, int precision, int emin, double largest, Round mode = Round::Nearest) {
  if (v == 0 || !std::isfinite(v)) return v;
  int e;
  std::frexp(v, &e);
  const double unit = std::ldexp(1.0, std::max(e - 1, emin) - (precision - 1));
  const double q = v / unit;
  const double r = (mode == Round::Zero ? std::trunc(q) : mode == Round::Away ? std::round(q) : std::nearbyint(q)) * unit;
  if (std::fabs(r) <= largest) return r;
  return mode == Round::Zero ? std::copysign(largest, v) : std::copysign(INFINITY, v);
}
constexpr double kMaxF16 = 65504, kMaxBf16 = 0x1.fep127;

uint16_t pack_f16(double v) {  // v is representable
  const uint16_t sign = std::signbit(v) ? 0x8000 : 0;
  if (v != v) return 0x7fff;
  v = std::fabs(v);
  if (std::isinf(v)) return sign | 0x7c00;
  if (v < 0x1p-14) return uint16_t(sign | uint16_t(v * 0x1p24));
  const uint64_t b = std::bit_cast<uint64_t>(v);
  return uint16_t(sign | ((b >> 52) - 1023 + 15) << 10 | (b >> 42 & 1023));
}

}  // namespace

uint16_t double_to_f16(double v) { return pack_f16(round_to(v, 11, -14, kMaxF16)); }
uint16_t float_to_f16(float f) { return double_to_f16(f); }
uint16_t double_to_bf16(double v) {
  if (v != v) return 0x7fff;
  return uint16_t(std::bit_cast<uint32_t>(float(round_to(v, 8, -126, kMaxBf16))) >> 16);
}

namespace {

// ------------------------------------------------------------------------------------------ cvt

struct Conversion {  // kept in Instr::flags
  Type to, from;
  enum Rounding : uint8_t { None, rn, rz, rm, rp, rna, rni, rzi, rmi, rpi } rounding;
  bool sat, ftz, relu, satfinite, unused;
};
static_assert(sizeof(Conversion) == sizeof(Instr::flags));

double to_double(uint64_t lane, Type t) {
  switch (t) {
    case Type::f16:
      return f16_to_float(uint16_t(lane));
    case Type::bf16:
      return bf16_to_float(uint16_t(lane));
    case Type::f32:
      return std::bit_cast<float>(uint32_t(lane));
    default:
      return std::bit_cast<double>(lane);
  }
}

uint64_t from_double(double v, const Conversion& c) {
  if (c.relu && !(v > 0) && v == v) v = 0;
  if (c.sat) v = v >= 1 ? 1 : v > 0 ? v : 0;
  const Round mode = c.rounding == Conversion::rz ? Round::Zero : c.rounding == Conversion::rna ? Round::Away : Round::Nearest;
  switch (c.to) {
    case Type::f16:
      v = round_to(v, 11, -14, kMaxF16, mode);
      if (c.satfinite && std::isinf(v)) v = std::copysign(kMaxF16, v);
      return pack_f16(v);
    case Type::bf16:
      if (v != v) return 0x7fff;
      v = round_to(v, 8, -126, kMaxBf16, mode);
      if (c.satfinite && std::isinf(v)) v = std::copysign(kMaxBf16, v);
      return std::bit_cast<uint32_t>(float(v)) >> 16;
    case Type::tf32:
      return std::bit_cast<uint32_t>(float(round_to(v, 11, -126, 0x1.ffcp127, mode)));
    case Type::f32: {
      float f = float(mode == Round::Nearest ? v : round_to(v, 24, -126, 0x1.fffffep127, mode));
      if (c.ftz && std::fabs(f) < 0x1p-126f) f = std::copysign(0.0f, f);
      return std::bit_cast<uint32_t>(f);
    }
    default:
      return std::bit_cast<uint64_t>(v);
  }
}

double round_integral(double v, Conversion::Rounding r) {
  switch (r) {
    case Conversion::rni:
      return std::nearbyint(v);
    case Conversion::rzi:
      return std::trunc(v);
    case Conversion::rmi:
      return std::floor(v);
    case Conversion::rpi:
      return std::ceil(v);
    default:
      return v;
  }
}

uint64_t double_to_integer(double v, Type t) {  // saturates; NaN is 0, or the sign bit for 64 bits
  const int n = ptx::bits(t);
  if (v != v) return n == 64 ? 1ull << 63 : 0;
  if (ptx::is_signed(t)) {
    const double limit = std::ldexp(1.0, n - 1);
    if (v >= limit) return (1ull << (n - 1)) - 1;
    if (v < -limit) return 1ull << (n - 1);
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

uint64_t convert(uint64_t lane, const Conversion& c) {
  const bool from_float = ptx::is_float(c.from), into_float = ptx::is_float(c.to);
  if (from_float) {
    double v = to_double(lane, c.from);
    if (c.ftz && c.from == Type::f32 && std::fabs(v) < 0x1p-126) v = std::copysign(0.0, v);
    v = round_integral(v, c.rounding);
    return into_float ? from_double(v, c) : double_to_integer(v, c.to);
  }
  const uint64_t v = extend(lane, c.from);
  if (into_float) {
    if (c.to == Type::f32 && c.rounding != Conversion::rz)
      return std::bit_cast<uint32_t>(ptx::is_signed(c.from) ? float(int64_t(v)) : float(v));
    return from_double(ptx::is_signed(c.from) ? double(int64_t(v)) : double(v), c);
  }
  if (c.sat) {  // integer to narrower integer
    const int n = ptx::bits(c.to);
    const __int128 x = ptx::is_signed(c.from) ? __int128(int64_t(v)) : __int128(v);
    const __int128 low = ptx::is_signed(c.to) ? -(__int128(1) << (n - 1)) : 0;
    const __int128 high = ptx::is_signed(c.to) ? (__int128(1) << (n - 1)) - 1 : (__int128(1) << n) - 1;
    return uint64_t(x < low ? low : x > high ? high : x);
  }
  return extend(v, c.to);  // sign-extends into a wider register
}

Conversion conversion_of(const Instr& i) { return std::bit_cast<Conversion>(i.flags); }

template <class To, class From>
void cvt_lanes(Warp& w, const Instr& i) {
  const Conversion c = conversion_of(i);
  auto* d = w.reg<To>(i.r[0]);
  auto* a = w.reg<From>(i.r[1]);
  for_lanes(w.mask, [&](int l) { d[l] = To(convert(a[l], c)); });
}
template <class To, class From>
void cvt_simple(Warp& w, const Instr& i) {  // common exact or single-rounding conversions
  auto* d = w.reg<LaneOf<To>>(i.r[0]);
  auto* a = w.reg<LaneOf<From>>(i.r[1]);
  each_lane(w.mask, [&](int l) { d[l] = Traits<To>::put(To(Traits<From>::get(a[l]))); });
}
void cvt_bf16_f32(Warp& w, const Instr& i) {
  auto *d = w.reg<uint32_t>(i.r[0]), *a = w.reg<uint32_t>(i.r[1]);
  each_lane(w.mask, [&](int l) { d[l] = float_to_bf16(std::bit_cast<float>(a[l])); });
}
void cvt_bf16x2_f32(Warp& w, const Instr& i) {  // d = {a, b}: a is the upper half
  auto *d = w.reg<uint32_t>(i.r[0]), *a = w.reg<uint32_t>(i.r[1]), *b = w.reg<uint32_t>(i.r[2]);
  each_lane(w.mask,
            [&](int l) { d[l] = uint32_t(float_to_bf16(std::bit_cast<float>(a[l]))) << 16 | float_to_bf16(std::bit_cast<float>(b[l])); });
}
void cvt_pair(Warp& w, const Instr& i) {
  const Conversion c = conversion_of(i);
  auto *d = w.reg<uint32_t>(i.r[0]), *a = w.reg<uint32_t>(i.r[1]), *b = w.reg<uint32_t>(i.r[2]);
  for_lanes(w.mask, [&](int l) { d[l] = uint32_t(convert(a[l], c) << 16 | (convert(b[l], c) & 0xffff)); });
}

void cvt(Decoder& d) {
  Conversion c{};
  const auto r = d.take_any({"rn", "rz", "rm", "rp", "rna", "rni", "rzi", "rmi", "rpi"});
  constexpr std::string_view names[] = {"", "rn", "rz", "rm", "rp", "rna", "rni", "rzi", "rmi", "rpi"};
  for (int k = 0; k < 10; ++k)
    if (r == names[k]) c.rounding = Conversion::Rounding(k);
  c.ftz = d.take("ftz");
  c.sat = d.take("sat");
  c.relu = d.take("relu");
  c.satfinite = d.take("satfinite");
  c.to = d.take_type();
  c.from = d.take_type();
  if (c.rounding == Conversion::rm || c.rounding == Conversion::rp) d.unsupported("rounding mode ." + std::string(r));
  if (c.to == Type::e4m3x2 || c.to == Type::e5m2x2 || c.from == Type::e4m3x2 || c.from == Type::e5m2x2) d.unsupported("fp8");
  const bool to_pair = c.to == Type::f16x2 || c.to == Type::bf16x2;
  const Type wide_from = ptx::is_integer(c.from) && d.wide(d.operand(1))     ? Type::b64
                         : ptx::is_integer(c.from) && ptx::bits(c.from) < 64 ? Type::b32
                                                                             : c.from;
  const uint32_t dst = d.dest(0), a = d.source(1, wide_from);
  const bool plain = !c.sat && !c.relu && !c.satfinite && !c.ftz;
  auto finish = [&](Handler h, const std::vector<uint32_t>& ops) {
    d.instr.flags = std::bit_cast<uint64_t>(c);
    d.emit(h, ops);
  };
  if (to_pair) {
    if (c.from != Type::f32) d.unsupported("pair from another type than .f32");
    const uint32_t b = d.source(2, c.from);
    if (c.to == Type::bf16x2 && plain && c.rounding == Conversion::rn) return finish(cvt_bf16x2_f32, {dst, a, b});
    c.to = c.to == Type::f16x2 ? Type::f16 : Type::bf16;
    return finish(cvt_pair, {dst, a, b});
  }
  const bool wd = d.wide(d.operand(0)), wf = is_wide(wide_from);
  if (plain) {
    if (c.to == Type::bf16 && c.from == Type::f32 && c.rounding == Conversion::rn) return finish(cvt_bf16_f32, {dst, a});
    if (c.to == Type::f32 && c.from == Type::s32 && c.rounding == Conversion::rn && !wf)
      return finish(cvt_simple<float, int32_t>, {dst, a});
    if (c.to == Type::f32 && c.from == Type::u32 && c.rounding == Conversion::rn && !wf)
      return finish(cvt_simple<float, uint32_t>, {dst, a});
    if ((c.to == Type::u64 || c.to == Type::s64) && c.from == Type::u32 && !wf) return finish(cvt_simple<uint64_t, uint32_t>, {dst, a});
    if ((c.to == Type::u64 || c.to == Type::s64) && c.from == Type::s32 && !wf) return finish(cvt_simple<int64_t, int32_t>, {dst, a});
    if ((c.to == Type::u32 || c.to == Type::s32) && ptx::is_integer(c.from) && wf && ptx::bits(c.from) == 64 && !wd)
      return finish(cvt_simple<uint32_t, uint64_t>, {dst, a});
  }
  if (wd)
    finish(wf ? cvt_lanes<uint64_t, uint64_t> : cvt_lanes<uint64_t, uint32_t>, {dst, a});
  else
    finish(wf ? cvt_lanes<uint32_t, uint64_t> : cvt_lanes<uint32_t, uint32_t>, {dst, a});
}

// ------------------------------------------------------------------------------------------ mov

template <class L>
void mov_run(Warp& w, const Instr& i) {
  auto *d = w.reg<L>(i.r[0]), *a = w.reg<L>(i.r[1]);
  each_lane(w.mask, [&](int l) { d[l] = a[l]; });
}
void mov_pred(Warp& w, const Instr& i) {
  uint32_t& d = w.pred(i.r[0]);
  d = (d & ~w.mask) | (w.pred(i.r[1]) & w.mask);
}
void mov_clock(Warp& w, const Instr& i) {
  const uint64_t t = i.flags ? uint64_t(std::chrono::steady_clock::now().time_since_epoch().count()) : w.machine->profile.warp_instructions;
  for_lanes(w.mask, [&](int l) {
    if (i.wide_data)
      w.reg<uint64_t>(i.r[0])[l] = t;
    else
      w.reg<uint32_t>(i.r[0])[l] = uint32_t(t);
  });
}
// mov.b32 {lo, hi}, a and mov.b32 d, {lo, hi}: `count` parts of `flags` bits.
void mov_unpack(Warp& w, const Instr& i) {
  const int part = int(i.flags);
  for_lanes(w.mask, [&](int l) {
    const uint64_t v = i.wide ? w.reg<uint64_t>(i.r[i.count])[l] : w.reg<uint32_t>(i.r[i.count])[l];
    for (int k = 0; k < i.count; ++k)
      if (i.r[k] != kNone) w.reg<uint32_t>(i.r[k])[l] = uint32_t(v >> part * k & ((1ull << part) - 1));
  });
}
void mov_pack(Warp& w, const Instr& i) {
  const int part = int(i.flags);
  for_lanes(w.mask, [&](int l) {
    uint64_t v = 0;
    for (int k = 0; k < i.count; ++k) v |= (uint64_t(w.reg<uint32_t>(i.r[k + 1])[l]) & ((1ull << part) - 1)) << part * k;
    if (i.wide)
      w.reg<uint64_t>(i.r[0])[l] = v;
    else
      w.reg<uint32_t>(i.r[0])[l] = uint32_t(v);
  });
}

void mov(Decoder& d) {
  const Type t = d.take_type();
  const Operand &to = d.operand(0), &from = d.operand(1);
  if (t == Type::pred) return d.emit(mov_pred, {d.dest(0), d.source(1, t)});
  if (to.kind == Operand::Vector || from.kind == Operand::Vector) {
    const Operand& v = to.kind == Operand::Vector ? to : from;
    const int n = int(v.parts.size()), part = ptx::bits(t) / n;
    if (part != 8 && part != 16 && part != 32) d.unsupported("size of the vector elements");
    d.instr.count = uint8_t(n);
    d.instr.flags = uint64_t(part);
    d.instr.wide = is_wide(t);
    std::vector<uint32_t> r;
    const Type element = part == 32 ? Type::b32 : part == 16 ? Type::b16 : Type::b8;
    if (&v == &from) r.push_back(d.dest(0));
    for (const Operand& o : v.parts) r.push_back(&v == &to ? d.dest(o) : d.source(o, element));
    if (&v == &to) r.push_back(d.source(1, t));
    return d.emit(&v == &to ? mov_unpack : mov_pack, r);
  }
  if (from.kind == Operand::Special && (from.name.starts_with("%clock") || from.name.starts_with("%globaltimer"))) {
    d.instr.flags = from.name[1] == 'g';
    d.instr.wide_data = is_wide(t);
    return d.emit(mov_clock, {d.dest(0)});
  }
  if (from.kind == Operand::Special && is_wide(t)) d.unsupported("64-bit " + from.name);
  d.emit(is_wide(t) ? mov_run<uint64_t> : mov_run<uint32_t>, {d.dest(0), d.source(1, t)});
}

// ----------------------------------------------------------------------------------------- cvta

void cvta_run(Warp& w, const Instr& i) {
  auto *d = w.reg<uint64_t>(i.r[0]), *a = w.reg<uint64_t>(i.r[1]);
  each_lane(w.mask, [&](int l) { d[l] = a[l] + uint64_t(i.imm); });
}
void cvta(Decoder& d) {
  const bool to = d.take("to");
  const Space space = d.take_space();
  d.need("u64");
  const uint64_t window = space == Space::shared || space == Space::shared_cluster ? kSharedWindow
                          : space == Space::local                                  ? kLocalWindow
                                                                                   : 0;
  d.instr.imm = int64_t(to ? 0 - window : window);
  d.emit(cvta_run, {d.dest(0), d.source(1, Type::u64)});
}

// -------------------------------------------------------------------------- comparison, selection

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
  uint32_t& p = w.pred(i.r[0]);
  p = (p & ~w.mask) | (r & w.mask);
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
Handler setp_for(Decoder& d, Type t, Compare c, bool unordered) {
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
      return setp_handler<float>(c, unordered);
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

void setp(Decoder& d) {
  const auto name =
      d.take_any({"eq", "ne", "lt", "le", "gt", "ge", "lo", "ls", "hi", "hs", "equ", "neu", "ltu", "leu", "gtu", "geu", "num", "nan"});
  constexpr struct {
    const char* name;
    Compare c;
    bool unordered;
  } kinds[] = {{"eq", eq, false}, {"ne", ne, false}, {"lt", lt, false}, {"le", le, false}, {"gt", gt, false},   {"ge", ge, false},
               {"lo", lt, false}, {"ls", le, false}, {"hi", gt, false}, {"hs", ge, false}, {"equ", eq, true},   {"neu", ne, true},
               {"ltu", lt, true}, {"leu", le, true}, {"gtu", gt, true}, {"geu", ge, true}, {"num", num, false}, {"nan", nan, true}};
  const auto* kind = &kinds[0];
  for (auto& k : kinds)
    if (name == k.name) kind = &k;
  if (name.empty()) d.unsupported("comparison");
  const auto combine = d.take_any({"and", "or", "xor"});
  d.take("ftz");
  const Type t = d.take_type();
  uint32_t c = kNone;
  bool negated = false;
  if (!combine.empty()) {
    c = d.predicate(3, &negated);
    d.instr.flags = (combine == "and" ? both : combine == "or" ? either : differ) | (negated ? 4 : 0);
  }
  const Operand& to = d.operand(0);
  const bool pair = to.kind == Operand::Pair;
  d.emit(setp_for(d, t, kind->c, kind->unordered),
         {d.dest(pair ? to.parts[0] : to), pair ? d.dest(to.parts[1]) : kNone, d.source(1, t), d.source(2, t), c});
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
    {"cvt", cvt, "9.7.9 cvt",
     "integers, f16, bf16, f32, f64, tf32, f16x2/bf16x2 from f32; .rn .rz .rna .rni .rzi .rmi .rpi .sat .relu .satfinite .ftz"},
    {"mov", mov, "9.7.9 mov", "all types, packing and unpacking, addresses, special registers"},
    {"cvta", cvta, "9.7.9 cvta", "all spaces, .to"},
    {"setp", setp, "9.7.6, 9.7.7", "all comparisons and types except packed; .and .or .xor, p|q"},
    {"selp", selp, "9.7.6", "all types"},
    {"slct", slct, "9.7.6", "all types"},
};

}  // namespace

std::span<const Family> convert_families() { return kFamilies; }

}  // namespace sim
