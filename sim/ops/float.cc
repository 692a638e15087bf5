// 9.7.3 Floating-Point, 9.7.4 Half Precision Floating-Point, and the opcodes that they
// share with integers (add, sub, mul, mad, div, min, max, abs, neg).
//
// Approximate functions (.approx, .full) return the correctly rounded or nearly so value of the host's
// libm; the device's error bounds are larger.
#include <bit>
#include <cfenv>

#include "sim/machine/lanes.h"

namespace sim {

bool decode_integer_add(Decoder& d, Type t, bool subtract);
bool decode_integer_mul(Decoder& d, Type t, bool mad);
bool decode_integer_div(Decoder& d, Type t);
bool decode_integer_minmax(Decoder& d, Type t, bool max);
bool decode_integer_absneg(Decoder& d, Type t, bool neg);
bool decode_carry(Decoder& d, std::string_view opcode);

namespace {

struct Add {
  template <class T>
  static T op(T a, T b) {
    return a + b;
  }
};
struct Sub {
  template <class T>
  static T op(T a, T b) {
    return a - b;
  }
};
struct Mul {
  template <class T>
  static T op(T a, T b) {
    return a * b;
  }
};
struct Div {
  template <class T>
  static T op(T a, T b) {
    return a / b;
  }
};
struct Fma {
  template <class T>
  static T op(T a, T b, T c) {
    return std::fma(a, b, c);
  }
};
// The sum rounded to odd: rounding it again, to 11 or 8 bits, then gives what one rounding of the exact sum gives.
inline double odd_sum(double a, double b) {
  const double s = a + b, t = s - a, error = (a - (s - t)) + (b - t);
  if (error == 0 || !std::isfinite(s)) return s;
  const uint64_t bits = std::bit_cast<uint64_t>(s);
  if (bits & 1) return s;
  return std::bit_cast<double>((error > 0) == (s > 0) ? bits + 1 : bits - 1);
}
struct AddHalf {
  static double op(double a, double b) { return odd_sum(a, b); }
};
struct SubHalf {
  static double op(double a, double b) { return odd_sum(a, -b); }
};
struct FmaHalf {  // the product of two halves is exact in double
  static double op(double a, double b, double c) { return odd_sum(a * b, c); }
};
struct FmaRelu {
  template <class T>
  static T op(T a, T b, T c) {
    T v = std::fma(a, b, c);
    return v > 0 || v != v ? v : T(0);
  }
};
struct Abs {
  template <class T>
  static T op(T a) {
    return std::fabs(a);
  }
};
struct Neg {
  template <class T>
  static T op(T a) {
    return -a;
  }
};
template <class T>
T ordered_min(T a, T b) {
  return a < b || (a == b && std::signbit(a)) ? a : b;
}
template <class T>
T ordered_max(T a, T b) {
  return a > b || (a == b && !std::signbit(a)) ? a : b;
}
struct Min {
  template <class T>
  static T op(T a, T b) {
    return a != a ? b : b != b ? a : ordered_min(a, b);
  }
};
struct Max {
  template <class T>
  static T op(T a, T b) {
    return a != a ? b : b != b ? a : ordered_max(a, b);
  }
};
struct MinNan {
  template <class T>
  static T op(T a, T b) {
    return a != a || b != b ? T(NAN) : ordered_min(a, b);
  }
};
struct MaxNan {
  template <class T>
  static T op(T a, T b) {
    return a != a || b != b ? T(NAN) : ordered_max(a, b);
  }
};
struct Min3 {
  template <class T>
  static T op(T a, T b, T c) {
    return Min::op(Min::op(a, b), c);
  }
};
struct Max3 {
  template <class T>
  static T op(T a, T b, T c) {
    return Max::op(Max::op(a, b), c);
  }
};
// The magnitudes' minimum or maximum, its sign the product of both signs.
template <class Op>
struct Xorsign {
  static float op(float a, float b) {
    return std::copysign(Op::op(std::fabs(a), std::fabs(b)), std::signbit(a) != std::signbit(b) ? -1.0f : 1.0f);
  }
};
struct Copysign {
  template <class T>
  static T op(T a, T b) {
    return std::copysign(b, a);
  }
};  // d = |b| with sign of a
struct Rcp {
  template <class T>
  static T op(T a) {
    return T(1) / a;
  }
};
struct Sqrt {
  template <class T>
  static T op(T a) {
    return std::sqrt(a);
  }
};
struct Rsqrt {
  template <class T>
  static T op(T a) {
    return T(1 / std::sqrt((long double)a));  // one rounding
  }
};
struct Sin {
  template <class T>
  static T op(T a) {
    return std::sin(a);
  }
};
struct Cos {
  template <class T>
  static T op(T a) {
    return std::cos(a);
  }
};
struct Lg2 {
  template <class T>
  static T op(T a) {
    return std::log2(a);
  }
};
struct Ex2 {
  template <class T>
  static T op(T a) {
    return std::exp2(a);
  }
};
struct Tanh {
  template <class T>
  static T op(T a) {
    return std::tanh(a);
  }
};

inline float flush(float v) { return std::fabs(v) < 0x1p-126f ? std::copysign(0.0f, v) : v; }
template <class Op>
struct Ftz {  // .ftz: subnormal inputs and results become zero
  template <class... A>
  static float op(A... a) {
    return flush(Op::op(flush(a)...));
  }
};
template <class Op>
struct Sat {  // .sat: clamp to [0, 1], NaN becomes 0
  template <class T, class... A>
  static T op(T a, A... b) {
    T v = Op::op(a, b...);
    return v >= 1 ? T(1) : v > 0 ? v : T(0);
  }
};

// The operation on f16 and bf16, which are computed in double.
template <class Op>
struct OnHalves {
  using type = Op;
};
template <>
struct OnHalves<Add> {
  using type = AddHalf;
};
template <>
struct OnHalves<Sub> {
  using type = SubHalf;
};
template <>
struct OnHalves<Fma> {
  using type = FmaHalf;
};

template <int N, class Op, class T>
constexpr Handler plain() {
  if constexpr (N == 1)
    return unary<Op, T>;
  else if constexpr (N == 2)
    return binary<Op, T>;
  else
    return ternary<Op, T>;
}

// .f32x2: two floats in a 64-bit register.
template <class Op, int N>
void pair_run(Warp& w, const Instr& i) {
  auto part = [&](int operand, int l, int shift) { return std::bit_cast<float>(uint32_t(w.reg<uint64_t>(i.r[operand])[l] >> shift)); };
  each_lane(w.mask, [&](int l) {
    uint64_t r = 0;
    for (int shift = 0; shift < 64; shift += 32) {
      float v;
      if constexpr (N == 1)
        v = Op::op(part(1, l, shift));
      else if constexpr (N == 2)
        v = Op::op(part(1, l, shift), part(2, l, shift));
      else
        v = Op::op(part(1, l, shift), part(2, l, shift), part(3, l, shift));
      r |= uint64_t(Traits<float>::put(v)) << shift;
    }
    w.reg<uint64_t>(i.r[0])[l] = r;
  });
}

// All floating-point types of one operation.
template <int N, class Op>
void emit_float(Decoder& d, Type t) {
  using Half = typename OnHalves<Op>::type;
  const bool ftz = d.take("ftz"), sat = d.take("sat");
  Handler h = nullptr;
  switch (t) {
    case Type::f32:
      h = ftz ? (sat ? plain<N, Sat<Ftz<Op>>, float>() : plain<N, Ftz<Op>, float>())
              : (sat ? plain<N, Sat<Op>, float>() : plain<N, Op, float>());
      break;
    case Type::f32x2:
      h = ftz ? pair_run<Ftz<Op>, N> : pair_run<Op, N>;
      break;
    case Type::f64:
      h = plain<N, Op, double>();
      break;
    case Type::f16:
      h = sat ? plain<N, Sat<Half>, F16>() : plain<N, Half, F16>();
      break;
    case Type::bf16:
      h = plain<N, Half, BF16>();
      break;
    case Type::f16x2:
      h = sat ? packed<Sat<Half>, F16, N> : packed<Half, F16, N>;
      break;
    case Type::bf16x2:
      h = packed<Half, BF16, N>;
      break;
    default:
      d.unsupported("type");
  }
  if (ftz && t == Type::f64 && N != 1) d.unsupported(".ftz");  // rcp.approx.ftz.f64 flushes only what f64 code never meets
  if (sat && (t == Type::f32x2 || t == Type::f64 || t == Type::bf16 || t == Type::bf16x2)) d.unsupported(".sat");
  emit_same<N>(d, h, t);
}

// .rz .rm .rp: the host's rounding mode is changed around the operation.  The volatile copies keep the
// compiler from moving it.
template <class Op, int Mode>
struct Directed {
  template <class T>
  static T op(T a) {
    volatile T x = a;
    std::fesetround(Mode);
    volatile T r = Op::op(T(x));
    std::fesetround(FE_TONEAREST);
    return r;
  }
  template <class T>
  static T op(T a, T b) {
    volatile T x = a, y = b;
    std::fesetround(Mode);
    volatile T r = Op::op(T(x), T(y));
    std::fesetround(FE_TONEAREST);
    return r;
  }
  template <class T>
  static T op(T a, T b, T c) {
    volatile T x = a, y = b, z = c;
    std::fesetround(Mode);
    volatile T r = Op::op(T(x), T(y), T(z));
    std::fesetround(FE_TONEAREST);
    return r;
  }
};

// An operation with an optional rounding mode.
template <int N, class Op>
void emit_rounded(Decoder& d, Type t) {
  d.take("rn");
  const auto mode = d.take_any({"rz", "rm", "rp"});
  if (!mode.empty() && t != Type::f32 && t != Type::f64 && t != Type::f32x2) d.unsupported("rounding mode ." + std::string(mode));
  if (mode == "rz")
    emit_float<N, Directed<Op, FE_TOWARDZERO>>(d, t);
  else if (mode == "rm")
    emit_float<N, Directed<Op, FE_DOWNWARD>>(d, t);
  else if (mode == "rp")
    emit_float<N, Directed<Op, FE_UPWARD>>(d, t);
  else
    emit_float<N, Op>(d, t);
}

// add.f32.bf16 and its kin: all operands but the last are halves, extended to f32.
template <class Op, class H, int N>
void mixed_run(Warp& w, const Instr& i) {
  auto half = [&](int operand, int l) { return float(Traits<H>::get(w.reg<uint32_t>(i.r[operand])[l] & 0xffff)); };
  auto *d = w.reg<uint32_t>(i.r[0]), *last = w.reg<uint32_t>(i.r[N]);
  each_lane(w.mask, [&](int l) {
    const float c = std::bit_cast<float>(last[l]);
    if constexpr (N == 2)
      d[l] = Traits<float>::put(Op::op(half(1, l), c));
    else
      d[l] = Traits<float>::put(Op::op(half(1, l), half(2, l), c));
  });
}
template <class Op, int N>
bool decode_mixed(Decoder& d, Type t) {
  if (t != Type::f32 || !(d.has("f16") || d.has("bf16"))) return false;
  const Type half = d.take_type();
  d.take("rn");
  const bool sat = d.take("sat"), wide = half == Type::bf16;
  std::vector<uint32_t> r{d.dest(0)};
  for (size_t k = 1; k < N; ++k) r.push_back(d.source(k, half));
  r.push_back(d.source(N, Type::f32));
  d.emit(sat ? (wide ? mixed_run<Sat<Op>, BF16, N> : mixed_run<Sat<Op>, F16, N>) : (wide ? mixed_run<Op, BF16, N> : mixed_run<Op, F16, N>),
         r);
  return true;
}

void add(Decoder& d) {
  if (decode_carry(d, "add")) return;
  const Type t = d.take_type();
  if (decode_integer_add(d, t, false) || decode_mixed<Add, 2>(d, t)) return;
  emit_rounded<2, Add>(d, t);
}
void sub(Decoder& d) {
  if (decode_carry(d, "sub")) return;
  const Type t = d.take_type();
  if (decode_integer_add(d, t, true) || decode_mixed<Sub, 2>(d, t)) return;
  emit_rounded<2, Sub>(d, t);
}
void mul(Decoder& d) {
  const Type t = d.take_type();
  if (decode_integer_mul(d, t, false)) return;
  emit_rounded<2, Mul>(d, t);
}
void fma(Decoder& d) {
  const Type t = d.take_type();
  if (decode_mixed<Fma, 3>(d, t)) return;
  if (d.take("relu"))
    emit_rounded<3, FmaRelu>(d, t);
  else
    emit_rounded<3, Fma>(d, t);
}
void mad(Decoder& d) {
  if (decode_carry(d, "mad")) return;
  const Type t = d.take_type();
  if (decode_integer_mul(d, t, true)) return;
  emit_rounded<3, Fma>(d, t);
}
void div(Decoder& d) {
  const Type t = d.take_type();
  if (decode_integer_div(d, t)) return;
  d.ignore({"approx", "full"});
  emit_rounded<2, Div>(d, t);
}
template <class Op, class OpNan, class Op3, bool IsMax>
void minmax(Decoder& d) {
  const Type t = d.take_type();
  if (decode_integer_minmax(d, t, IsMax)) return;
  const bool nan = d.take("NaN");
  if (t == Type::f32 && d.take("xorsign")) {
    d.need("abs");
    return nan ? emit_float<2, Xorsign<OpNan>>(d, t) : emit_float<2, Xorsign<Op>>(d, t);
  }
  if (d.count() == 4 && !nan)
    emit_float<3, Op3>(d, t);
  else if (nan)
    emit_float<2, OpNan>(d, t);
  else
    emit_float<2, Op>(d, t);
}
void abs(Decoder& d) {
  const Type t = d.take_type();
  if (!decode_integer_absneg(d, t, false)) emit_float<1, Abs>(d, t);
}
void neg(Decoder& d) {
  const Type t = d.take_type();
  if (!decode_integer_absneg(d, t, true)) emit_float<1, Neg>(d, t);
}
template <class Op>
void function(Decoder& d) {
  const Type t = d.take_type();
  d.take("approx");
  emit_rounded<1, Op>(d, t);
}
void copysign(Decoder& d) { emit_float<2, Copysign>(d, d.take_type()); }

enum Property { Finite, Infinite, Number, NotANumber, Normal, Subnormal };
template <class T>
void testp_run(Warp& w, const Instr& i) {
  auto* a = w.reg<LaneOf<T>>(i.r[1]);
  uint32_t r = 0;
  for_lanes(w.mask, [&](int l) {
    const T v = Traits<T>::get(a[l]);
    bool p = false;
    switch (i.flags) {
      case Finite:
        p = std::isfinite(v);
        break;
      case Infinite:
        p = std::isinf(v);
        break;
      case Number:
        p = !std::isnan(v);
        break;
      case NotANumber:
        p = std::isnan(v);
        break;
      case Normal:
        p = std::isnormal(v);
        break;
      case Subnormal:
        p = std::fpclassify(v) == FP_SUBNORMAL;
        break;
    }
    r |= uint32_t(p) << l;
  });
  uint32_t& d = w.pred(i.r[0]);
  d = (d & ~w.mask) | r;
}
void testp(Decoder& d) {
  const auto p = d.take_any({"finite", "infinite", "number", "notanumber", "normal", "subnormal"});
  d.instr.flags = p == "finite"       ? Finite
                  : p == "infinite"   ? Infinite
                  : p == "number"     ? Number
                  : p == "notanumber" ? NotANumber
                  : p == "normal"     ? Normal
                                      : Subnormal;
  const Type t = d.take_type();
  d.emit(t == Type::f64 ? testp_run<double> : testp_run<float>, {d.dest(0), d.source(1, t)});
}

constexpr Family kFamilies[] = {
    {"add", add, "9.7.1, 9.7.3, 9.7.4",
     "all integer types, .s32.sat, f16/bf16/x2, f32/x2, f32.f16, f32.bf16, f64; .rn .rz .rm .rp .ftz .sat"},
    {"sub", sub, "9.7.1, 9.7.3, 9.7.4", "as add"},
    {"mul", mul, "9.7.1, 9.7.3, 9.7.4", ".lo .hi .wide, f16/bf16/x2, f32/x2, f64; .rn .rz .rm .rp .ftz .sat"},
    {"mad", mad, "9.7.1, 9.7.3", ".lo .hi .wide, .hi.sat, f32, f64"},
    {"fma", fma, "9.7.3, 9.7.4", "f16/bf16/x2, f32/x2, f32.f16, f32.bf16, f64; .rn .rz .rm .rp .ftz .sat .relu"},
    {"div", div, "9.7.1, 9.7.3", "all integer types, f32 (.rn .approx .full), f64"},
    {"min", minmax<Min, MinNan, Min3, false>, "9.7.1, 9.7.3, 9.7.4", "all types; .NaN .ftz .xorsign.abs, three inputs"},
    {"max", minmax<Max, MaxNan, Max3, true>, "9.7.1, 9.7.3, 9.7.4", "as min"},
    {"abs", abs, "9.7.1, 9.7.3, 9.7.4", "all types"},
    {"neg", neg, "9.7.1, 9.7.3, 9.7.4", "all types"},
    {"rcp", function<Rcp>, "9.7.3", "f32, f64; .approx .rn .ftz"},
    {"sqrt", function<Sqrt>, "9.7.3", "f32, f64; .approx .rn .ftz"},
    {"rsqrt", function<Rsqrt>, "9.7.3", "f32, f64; .approx .ftz"},
    {"sin", function<Sin>, "9.7.3", "f32"},
    {"cos", function<Cos>, "9.7.3", "f32"},
    {"lg2", function<Lg2>, "9.7.3", "f32"},
    {"ex2", function<Ex2>, "9.7.3, 9.7.4", "f32, f16/bf16/x2"},
    {"tanh", function<Tanh>, "9.7.3, 9.7.4", "f32, f16/bf16/x2"},
    {"copysign", copysign, "9.7.3", "f32, f64"},
    {"testp", testp, "9.7.3", "f32, f64"},
};

}  // namespace

std::span<const Family> float_families() { return kFamilies; }

}  // namespace sim
