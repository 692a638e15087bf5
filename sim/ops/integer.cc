// 9.7.1 Integer Arithmetic.
#include "sim/ops/integer.h"

namespace sim {
namespace {

struct AddOp {
  template <class T>
  static T op(T a, T b) {
    return T(Unsigned<T>(a) + Unsigned<T>(b));
  }
};
struct SubOp {
  template <class T>
  static T op(T a, T b) {
    return T(Unsigned<T>(a) - Unsigned<T>(b));
  }
};
struct MulLo {
  template <class T>
  static T op(T a, T b) {
    return T(uint64_t(a) * uint64_t(b));
  }
};
struct MadLo {
  template <class T>
  static T op(T a, T b, T c) {
    return T(uint64_t(a) * uint64_t(b) + uint64_t(c));
  }
};
template <class T>
using Wider = std::conditional_t<sizeof(T) == 8, std::conditional_t<std::is_signed_v<T>, __int128, unsigned __int128>,
                                 std::conditional_t<std::is_signed_v<T>, int64_t, uint64_t>>;
struct MulHi {
  template <class T>
  static T op(T a, T b) {
    return T(Wider<T>(a) * Wider<T>(b) >> (8 * sizeof(T)));
  }
};
struct MadHi {
  template <class T>
  static T op(T a, T b, T c) {
    return AddOp::op(MulHi::op(a, b), c);
  }
};
struct MadHiSat {
  static int32_t op(int32_t a, int32_t b, int32_t c) {
    return int32_t(std::clamp<int64_t>(int64_t(MulHi::op(a, b)) + c, INT32_MIN, INT32_MAX));
  }
};
// Division by zero yields an unspecified value: all ones.
struct DivOp {
  template <class T>
  static T op(T a, T b) {
    if (b == 0) return T(-1);
    if (std::is_signed_v<T> && b == T(-1)) return T(0 - Unsigned<T>(a));
    return T(a / b);
  }
};
struct RemOp {
  template <class T>
  static T op(T a, T b) {
    if (b == 0) return T(-1);
    if (std::is_signed_v<T> && b == T(-1)) return T(0);
    return T(a % b);
  }
};
struct MinOp {
  template <class T>
  static T op(T a, T b) {
    return a < b ? a : b;
  }
};
struct MaxOp {
  template <class T>
  static T op(T a, T b) {
    return a > b ? a : b;
  }
};
struct AbsOp {
  template <class T>
  static T op(T a) {
    return a < 0 ? T(0 - Unsigned<T>(a)) : a;
  }
};
struct NegOp {
  template <class T>
  static T op(T a) {
    return T(0 - Unsigned<T>(a));
  }
};
struct SadOp {
  template <class T>
  static T op(T a, T b, T c) {
    return AddOp::op(c, a < b ? SubOp::op(b, a) : SubOp::op(a, b));
  }
};
// max(result, 0).
template <class Op>
struct Relu {
  template <class T>
  static T op(T a, T b) {
    const T v = Op::op(a, b);
    return v < 0 ? T(0) : v;
  }
};

// .u16x2, .s16x2: two independent halves.
template <class Op, class T>
void halves(Warp& w, const Instr& i) {
  auto *d = w.reg<uint32_t>(i.r[0]), *a = w.reg<uint32_t>(i.r[1]), *b = w.reg<uint32_t>(i.r[2]);
  each_lane(w.mask, [&](int l) {
    const uint16_t low = uint16_t(Op::op(T(a[l]), T(b[l]))), high = uint16_t(Op::op(T(a[l] >> 16), T(b[l] >> 16)));
    d[l] = uint32_t(high) << 16 | low;
  });
}
void packed_minmax(Decoder& d, Type t, bool max) {
  const bool relu = d.take("relu");
  if (relu && t != Type::s16x2) d.unsupported(".relu");
  Handler h;
  if (t == Type::u16x2)
    h = max ? halves<MaxOp, uint16_t> : halves<MinOp, uint16_t>;
  else if (relu)
    h = max ? halves<Relu<MaxOp>, int16_t> : halves<Relu<MinOp>, int16_t>;
  else
    h = max ? halves<MaxOp, int16_t> : halves<MinOp, int16_t>;
  emit_same<2>(d, h, Type::b32);
}

void add_sat(Warp& w, const Instr& i) {  // .s32 only
  auto *d = w.reg<uint32_t>(i.r[0]), *a = w.reg<uint32_t>(i.r[1]), *b = w.reg<uint32_t>(i.r[2]);
  each_lane(w.mask, [&](int l) {
    int64_t v = i.flags ? int64_t(int32_t(a[l])) - int32_t(b[l]) : int64_t(int32_t(a[l])) + int32_t(b[l]);
    d[l] = uint32_t(std::min<int64_t>(std::max<int64_t>(v, INT32_MIN), INT32_MAX));
  });
}

}  // namespace

// Shared with float_families(): add, sub, ... of integer types.
bool decode_integer_add(Decoder& d, Type t, bool subtract) {
  if (t == Type::s16x2 || t == Type::u16x2) {
    if (subtract) d.unsupported("type");
    return emit_same<2>(d, halves<AddOp, uint16_t>, Type::b32), true;
  }
  if (!ptx::is_integer(t)) return false;
  if (d.take("sat")) {
    if (t != Type::s32) d.unsupported(".sat");
    d.instr.flags = subtract;
    emit_same<2>(d, add_sat, t);
  } else {
    emit_same<2>(d, subtract ? integer_handler<Bin<SubOp>::Make>(d, t) : integer_handler<Bin<AddOp>::Make>(d, t), t);
  }
  return true;
}

namespace {

template <class T>
void mul_wide(Warp& w, const Instr& i) {  // 32 -> 64 bits, 16 -> 32 bits
  auto *a = w.reg<uint32_t>(i.r[1]), *b = w.reg<uint32_t>(i.r[2]);
  each_lane(w.mask, [&](int l) {
    const int64_t p = int64_t(T(a[l])) * int64_t(T(b[l]));  // unsigned 32-bit products fit modulo 2^64
    if constexpr (sizeof(T) == 4)
      w.reg<uint64_t>(i.r[0])[l] = std::is_signed_v<T> ? uint64_t(p) : uint64_t(a[l]) * b[l];
    else
      w.reg<uint32_t>(i.r[0])[l] = uint32_t(p);
  });
}
template <class T>
void mad_wide(Warp& w, const Instr& i) {
  auto *a = w.reg<uint32_t>(i.r[1]), *b = w.reg<uint32_t>(i.r[2]);
  each_lane(w.mask, [&](int l) {
    if constexpr (sizeof(T) == 4) {
      const uint64_t p = std::is_signed_v<T> ? uint64_t(int64_t(T(a[l])) * int64_t(T(b[l]))) : uint64_t(a[l]) * b[l];
      w.reg<uint64_t>(i.r[0])[l] = p + w.reg<uint64_t>(i.r[3])[l];
    } else {
      w.reg<uint32_t>(i.r[0])[l] = uint32_t(int64_t(T(a[l])) * int64_t(T(b[l]))) + w.reg<uint32_t>(i.r[3])[l];
    }
  });
}

Handler wide_handler(Decoder& d, Type t, bool mad) {
  switch (t) {
    case Type::u16:
      return mad ? mad_wide<uint16_t> : mul_wide<uint16_t>;
    case Type::s16:
      return mad ? mad_wide<int16_t> : mul_wide<int16_t>;
    case Type::u32:
      return mad ? mad_wide<uint32_t> : mul_wide<uint32_t>;
    case Type::s32:
      return mad ? mad_wide<int32_t> : mul_wide<int32_t>;
    default:
      d.unsupported("type of .wide");
  }
}

}  // namespace

bool decode_integer_mul(Decoder& d, Type t, bool mad) {
  if (!ptx::is_integer(t)) return false;
  const Type twice = ptx::bits(t) == 32 ? Type::u64 : Type::u32;
  if (d.take("wide")) {
    std::vector<uint32_t> r{d.dest(0), d.source(1, t), d.source(2, t)};
    if (mad) r.push_back(d.source(3, twice));
    d.emit(wide_handler(d, t, mad), r);
  } else if (d.take("hi")) {
    if (mad && t == Type::s32 && d.take("sat"))
      emit_same<3>(d, ternary<MadHiSat, int32_t>, t);
    else if (mad)
      emit_same<3>(d, integer_handler<Ter<MadHi>::Make>(d, t), t);
    else
      emit_same<2>(d, integer_handler<Bin<MulHi>::Make>(d, t), t);
  } else {
    d.need("lo");
    if (mad)
      emit_same<3>(d, integer_handler<Ter<MadLo>::Make>(d, t), t);
    else
      emit_same<2>(d, integer_handler<Bin<MulLo>::Make>(d, t), t);
  }
  return true;
}
bool decode_integer_div(Decoder& d, Type t) {
  if (!ptx::is_integer(t)) return false;
  emit_same<2>(d, integer_handler<Bin<DivOp>::Make>(d, t), t);
  return true;
}
bool decode_integer_minmax(Decoder& d, Type t, bool max) {
  if (t == Type::s16x2 || t == Type::u16x2) return packed_minmax(d, t, max), true;
  if (!ptx::is_integer(t)) return false;
  if (d.take("relu")) {
    if (t != Type::s32) d.unsupported(".relu");
    return emit_same<2>(d, max ? binary<Relu<MaxOp>, int32_t> : binary<Relu<MinOp>, int32_t>, t), true;
  }
  emit_same<2>(d, max ? integer_handler<Bin<MaxOp>::Make>(d, t) : integer_handler<Bin<MinOp>::Make>(d, t), t);
  return true;
}
bool decode_integer_absneg(Decoder& d, Type t, bool neg) {
  if (!ptx::is_integer(t)) return false;
  emit_same<1>(d, neg ? integer_handler<Un<NegOp>::Make>(d, t) : integer_handler<Un<AbsOp>::Make>(d, t), t);
  return true;
}

namespace {

void rem(Decoder& d) {
  Type t = d.take_type();
  emit_same<2>(d, integer_handler<Bin<RemOp>::Make>(d, t), t);
}
void sad(Decoder& d) {
  Type t = d.take_type();
  emit_same<3>(d, integer_handler<Ter<SadOp>::Make>(d, t), t);
}

// ---- mul24, mad24: products of the low 24 bits; .hi is bits 16 to 47 ----

template <bool Signed, bool High, bool Mad>
void mul24_run(Warp& w, const Instr& i) {
  auto *d = w.reg<uint32_t>(i.r[0]), *a = w.reg<uint32_t>(i.r[1]), *b = w.reg<uint32_t>(i.r[2]);
  each_lane(w.mask, [&](int l) {
    const int64_t x = Signed ? int64_t(int32_t(a[l] << 8) >> 8) : int64_t(a[l] & 0xffffff),
                  y = Signed ? int64_t(int32_t(b[l] << 8) >> 8) : int64_t(b[l] & 0xffffff);
    const uint32_t p = uint32_t(x * y >> (High ? 16 : 0));
    d[l] = Mad ? p + w.reg<uint32_t>(i.r[3])[l] : p;
  });
}
template <bool Mad>
void mul24(Decoder& d) {
  const bool high = d.take("hi");
  if (!high) d.need("lo");
  const Type t = d.take_type();
  if (t != Type::s32 && t != Type::u32) d.unsupported("type");
  const bool s = t == Type::s32;
  emit_same<Mad ? 3 : 2>(d,
                         high ? (s ? mul24_run<true, true, Mad> : mul24_run<false, true, Mad>)
                              : (s ? mul24_run<true, false, Mad> : mul24_run<false, false, Mad>),
                         t);
}

constexpr Family kFamilies[] = {
    {"rem", rem, "9.7.1", "all integer types"},
    {"sad", sad, "9.7.1", "all integer types"},
    {"mul24", mul24<false>, "9.7.1", ".lo .hi, .s32 .u32"},
    {"mad24", mul24<true>, "9.7.1", ".lo .hi, .s32 .u32"},
};

}  // namespace

std::span<const Family> integer_families() { return kFamilies; }

}  // namespace sim
