// 9.7.1 Integer Arithmetic, 9.7.6 Comparison and Selection, 9.7.8 Logic and Shift.
#include "sim/machine/lanes.h"

namespace sim {
namespace {

// Picks the handler for an integer type.
template <template <class> class Make>
Handler integer_handler(Decoder& d, Type t) {
  switch (t) {
    case Type::u16:
      return Make<uint16_t>::handler;
    case Type::s16:
      return Make<int16_t>::handler;
    case Type::u32:
      return Make<uint32_t>::handler;
    case Type::s32:
      return Make<int32_t>::handler;
    case Type::u64:
      return Make<uint64_t>::handler;
    case Type::s64:
      return Make<int64_t>::handler;
    default:
      d.unsupported("type");
  }
}
template <template <class> class Make>
Handler bits_handler(Decoder& d, Type t) {
  switch (ptx::bits(t)) {
    case 16:
      return Make<uint16_t>::handler;
    case 32:
      return Make<uint32_t>::handler;
    case 64:
      return Make<uint64_t>::handler;
    default:
      d.unsupported("type");
  }
}

template <class T>
using Unsigned = std::make_unsigned_t<T>;

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
struct AndOp {
  template <class T>
  static T op(T a, T b) {
    return a & b;
  }
};
struct OrOp {
  template <class T>
  static T op(T a, T b) {
    return a | b;
  }
};
struct XorOp {
  template <class T>
  static T op(T a, T b) {
    return a ^ b;
  }
};
struct NotOp {
  template <class T>
  static T op(T a) {
    return T(~a);
  }
};
struct CnotOp {
  template <class T>
  static T op(T a) {
    return a == 0;
  }
};

template <class Op>
struct Un {
  template <class T>
  struct Make {
    static constexpr Handler handler = unary<Op, T>;
  };
};
template <class Op>
struct Bin {
  template <class T>
  struct Make {
    static constexpr Handler handler = binary<Op, T>;
  };
};
template <class Op>
struct Ter {
  template <class T>
  struct Make {
    static constexpr Handler handler = ternary<Op, T>;
  };
};

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
    if (mad)
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
  if (!ptx::is_integer(t)) return false;
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

// ---- logic, on words and on predicates ----

template <class Op>
void on_predicates(Warp& w, const Instr& i) {
  uint32_t a = w.pred(i.r[1]) ^ (i.flags & 1 ? ~0u : 0), b = w.pred(i.r[2]) ^ (i.flags & 2 ? ~0u : 0);
  uint32_t& d = w.pred(i.r[0]);
  d = (d & ~w.mask) | (Op::op(a, b) & w.mask);
}
template <class Op>
void logic(Decoder& d) {
  const Type t = d.take_type();
  if (t == Type::pred) {
    bool na, nb;
    uint32_t a = d.predicate(1, &na), b = d.predicate(2, &nb);
    d.instr.flags = unsigned(na) | unsigned(nb) << 1;
    return d.emit(on_predicates<Op>, {d.dest(0), a, b});
  }
  emit_same<2>(d, bits_handler<Bin<Op>::template Make>(d, t), t);
}
void not_pred(Warp& w, const Instr& i) {
  uint32_t& d = w.pred(i.r[0]);
  d = (d & ~w.mask) | (~w.pred(i.r[1]) & w.mask);
}
void not_(Decoder& d) {
  const Type t = d.take_type();
  if (t == Type::pred) return d.emit(not_pred, {d.dest(0), d.source(1, t)});
  emit_same<1>(d, bits_handler<Un<NotOp>::Make>(d, t), t);
}
void cnot(Decoder& d) {
  Type t = d.take_type();
  emit_same<1>(d, bits_handler<Un<CnotOp>::Make>(d, t), t);
}

void lop3_run(Warp& w, const Instr& i) {
  auto *d = w.reg<uint32_t>(i.r[0]), *a = w.reg<uint32_t>(i.r[1]), *b = w.reg<uint32_t>(i.r[2]), *c = w.reg<uint32_t>(i.r[3]);
  each_lane(w.mask, [&](int l) {
    uint32_t r = 0;
    for (int k = 0; k < 8; ++k)
      if (i.imm >> k & 1) r |= (k & 4 ? a[l] : ~a[l]) & (k & 2 ? b[l] : ~b[l]) & (k & 1 ? c[l] : ~c[l]);
    d[l] = r;
  });
}
void lop3(Decoder& d) {
  d.need("b32");
  d.instr.imm = d.constant(4);
  d.emit(lop3_run, {d.dest(0), d.source(1, Type::b32), d.source(2, Type::b32), d.source(3, Type::b32)});
}

// ---- shifts: amounts above the width are clamped ----

template <class T, bool Left>
void shift_run(Warp& w, const Instr& i) {
  auto *d = w.reg<LaneOf<T>>(i.r[0]), *a = w.reg<LaneOf<T>>(i.r[1]);
  auto* n = w.reg<uint32_t>(i.r[2]);
  constexpr uint32_t width = 8 * sizeof(T);
  each_lane(w.mask, [&](int l) {
    const T v = Traits<T>::get(a[l]);
    T r;
    if (Left)
      r = n[l] >= width ? T(0) : T(Unsigned<T>(v) << n[l]);
    else
      r = T(v >> (n[l] >= width ? width - 1 : n[l]));
    if (!Left && !std::is_signed_v<T> && n[l] >= width) r = 0;
    d[l] = Traits<T>::put(r);
  });
}
template <class T>
struct ShiftLeft {
  static constexpr Handler handler = shift_run<T, true>;
};
template <class T>
struct ShiftRight {
  static constexpr Handler handler = shift_run<T, false>;
};
void shl(Decoder& d) {
  const Type t = d.take_type();
  d.emit(bits_handler<ShiftLeft>(d, t), {d.dest(0), d.source(1, t), d.source(2, Type::u32)});
}
void shr(Decoder& d) {
  const Type t = d.take_type();
  Handler h = ptx::is_signed(t) ? integer_handler<ShiftRight>(d, t) : bits_handler<ShiftRight>(d, t);
  d.emit(h, {d.dest(0), d.source(1, t), d.source(2, Type::u32)});
}
void shf_run(Warp& w, const Instr& i) {
  auto *d = w.reg<uint32_t>(i.r[0]), *a = w.reg<uint32_t>(i.r[1]), *b = w.reg<uint32_t>(i.r[2]), *c = w.reg<uint32_t>(i.r[3]);
  const bool left = i.flags & 1, wrap = i.flags & 2;
  each_lane(w.mask, [&](int l) {
    const uint32_t n = wrap ? c[l] & 31 : std::min(c[l], 32u);
    const uint64_t both = uint64_t(b[l]) << 32 | a[l];
    d[l] = left ? uint32_t(both << n >> 32) : uint32_t(both >> n);
  });
}
void shf(Decoder& d) {
  const bool left = d.take("l");
  if (!left) d.need("r");
  const bool wrap = d.take("wrap");
  if (!wrap) d.need("clamp");
  d.need("b32");
  d.instr.flags = unsigned(left) | unsigned(wrap) << 1;
  d.emit(shf_run, {d.dest(0), d.source(1, Type::b32), d.source(2, Type::b32), d.source(3, Type::b32)});
}

// ---- bits ----

template <class T>
void popc_run(Warp& w, const Instr& i) {
  auto* a = w.reg<LaneOf<T>>(i.r[1]);
  each_lane(w.mask, [&](int l) { w.reg<uint32_t>(i.r[0])[l] = uint32_t(std::popcount(a[l])); });
}
template <class T>
void clz_run(Warp& w, const Instr& i) {
  auto* a = w.reg<LaneOf<T>>(i.r[1]);
  each_lane(w.mask, [&](int l) { w.reg<uint32_t>(i.r[0])[l] = uint32_t(std::countl_zero(a[l])); });
}
template <class T>
void bfind_run(Warp& w, const Instr& i) {
  auto* a = w.reg<LaneOf<T>>(i.r[1]);
  each_lane(w.mask, [&](int l) {
    T v = Traits<T>::get(a[l]);
    if (v < 0) v = T(~v);
    const int zeros = std::countl_zero(Unsigned<T>(v)), width = 8 * sizeof(T);
    w.reg<uint32_t>(i.r[0])[l] = zeros == width ? ~0u : uint32_t(i.flags ? zeros : width - 1 - zeros);
  });
}
template <class T>
void brev_run(Warp& w, const Instr& i) {
  auto *d = w.reg<T>(i.r[0]), *a = w.reg<T>(i.r[1]);
  each_lane(w.mask, [&](int l) {
    T v = a[l], r = 0;
    for (size_t k = 0; k < 8 * sizeof(T); ++k, v >>= 1) r = T(r << 1 | (v & 1));
    d[l] = r;
  });
}
void popc(Decoder& d) {
  Type t = d.take_type();
  d.emit(is_wide(t) ? popc_run<uint64_t> : popc_run<uint32_t>, {d.dest(0), d.source(1, t)});
}
void clz(Decoder& d) {
  Type t = d.take_type();
  d.emit(is_wide(t) ? clz_run<uint64_t> : clz_run<uint32_t>, {d.dest(0), d.source(1, t)});
}
template <class T>
struct Bfind {
  static constexpr Handler handler = bfind_run<T>;
};
void bfind(Decoder& d) {
  d.instr.flags = d.take("shiftamt");
  Type t = d.take_type();
  d.emit(integer_handler<Bfind>(d, t), {d.dest(0), d.source(1, t)});
}
void brev(Decoder& d) {
  Type t = d.take_type();
  d.emit(is_wide(t) ? brev_run<uint64_t> : brev_run<uint32_t>, {d.dest(0), d.source(1, t)});
}

template <class T>
void bfe_run(Warp& w, const Instr& i) {
  auto *d = w.reg<LaneOf<T>>(i.r[0]), *a = w.reg<LaneOf<T>>(i.r[1]);
  auto *b = w.reg<uint32_t>(i.r[2]), *c = w.reg<uint32_t>(i.r[3]);
  constexpr int msb = 8 * sizeof(T) - 1;
  each_lane(w.mask, [&](int l) {
    const int pos = b[l] & 0xff, len = c[l] & 0xff;
    const Unsigned<T> v = Unsigned<T>(a[l]);
    const bool sign = std::is_signed_v<T> && len && (v >> std::min(pos + len - 1, msb) & 1);
    Unsigned<T> r = sign ? ~Unsigned<T>(0) : 0;
    for (int k = 0; k <= msb && k < len && pos + k <= msb; ++k) {
      const Unsigned<T> bit = Unsigned<T>(1) << k;
      r = (v >> (pos + k) & 1) ? r | bit : r & ~bit;
    }
    d[l] = r;
  });
}
template <class T>
struct Bfe {
  static constexpr Handler handler = bfe_run<T>;
};
void bfe(Decoder& d) {
  Type t = d.take_type();
  d.emit(integer_handler<Bfe>(d, t), {d.dest(0), d.source(1, t), d.source(2, Type::u32), d.source(3, Type::u32)});
}
template <class T>
void bfi_run(Warp& w, const Instr& i) {
  auto *d = w.reg<T>(i.r[0]), *a = w.reg<T>(i.r[1]), *b = w.reg<T>(i.r[2]);
  auto *c = w.reg<uint32_t>(i.r[3]), *n = w.reg<uint32_t>(i.r[4]);
  constexpr uint32_t width = 8 * sizeof(T);
  each_lane(w.mask, [&](int l) {
    const uint32_t pos = c[l] & 0xff, len = n[l] & 0xff;
    T field = len >= width ? ~T(0) : (T(1) << len) - 1;
    field = pos >= width ? 0 : field << pos;
    d[l] = (b[l] & ~field) | ((pos >= width ? 0 : a[l] << pos) & field);
  });
}
void bfi(Decoder& d) {
  Type t = d.take_type();
  d.emit(is_wide(t) ? bfi_run<uint64_t> : bfi_run<uint32_t>,
         {d.dest(0), d.source(1, t), d.source(2, t), d.source(3, Type::u32), d.source(4, Type::u32)});
}

void prmt_run(Warp& w, const Instr& i) {
  auto *d = w.reg<uint32_t>(i.r[0]), *a = w.reg<uint32_t>(i.r[1]), *b = w.reg<uint32_t>(i.r[2]), *c = w.reg<uint32_t>(i.r[3]);
  each_lane(w.mask, [&](int l) {
    const uint64_t bytes = uint64_t(b[l]) << 32 | a[l];
    uint32_t r = 0;
    for (int k = 0; k < 4; ++k) {
      const uint32_t sel = c[l] >> 4 * k & 15;
      uint32_t byte = uint32_t(bytes >> 8 * (sel & 7)) & 0xff;
      if (sel & 8) byte = byte & 0x80 ? 0xff : 0;
      r |= byte << 8 * k;
    }
    d[l] = r;
  });
}
void prmt(Decoder& d) {
  d.need("b32");
  d.emit(prmt_run, {d.dest(0), d.source(1, Type::b32), d.source(2, Type::b32), d.source(3, Type::b32)});
}

template <bool SignedA, bool SignedB>
void dp4a_run(Warp& w, const Instr& i) {
  auto *d = w.reg<uint32_t>(i.r[0]), *a = w.reg<uint32_t>(i.r[1]), *b = w.reg<uint32_t>(i.r[2]), *c = w.reg<uint32_t>(i.r[3]);
  each_lane(w.mask, [&](int l) {
    uint32_t sum = c[l];
    for (int k = 0; k < 32; k += 8) {
      const int x = SignedA ? int8_t(a[l] >> k) : uint8_t(a[l] >> k), y = SignedB ? int8_t(b[l] >> k) : uint8_t(b[l] >> k);
      sum += uint32_t(x * y);
    }
    d[l] = sum;
  });
}
void dp4a(Decoder& d) {
  const bool sa = d.take_type() == Type::s32, sb = d.take_type() == Type::s32;
  d.emit(sa   ? sb ? dp4a_run<true, true> : dp4a_run<true, false>
         : sb ? dp4a_run<false, true>
              : dp4a_run<false, false>,
         {d.dest(0), d.source(1, Type::b32), d.source(2, Type::b32), d.source(3, Type::b32)});
}

constexpr Family kFamilies[] = {
    {"rem", rem, "9.7.1", "all integer types"},
    {"sad", sad, "9.7.1", "all integer types"},
    {"popc", popc, "9.7.1", ".b32 .b64"},
    {"clz", clz, "9.7.1", ".b32 .b64"},
    {"bfind", bfind, "9.7.1", "all types, .shiftamt"},
    {"brev", brev, "9.7.1", ".b32 .b64"},
    {"bfe", bfe, "9.7.1", "all types"},
    {"bfi", bfi, "9.7.1", ".b32 .b64"},
    {"dp4a", dp4a, "9.7.1", "all types"},
    {"and", logic<AndOp>, "9.7.8", ".pred .b16 .b32 .b64"},
    {"or", logic<OrOp>, "9.7.8", ".pred .b16 .b32 .b64"},
    {"xor", logic<XorOp>, "9.7.8", ".pred .b16 .b32 .b64"},
    {"not", not_, "9.7.8", ".pred .b16 .b32 .b64"},
    {"cnot", cnot, "9.7.8", ".b16 .b32 .b64"},
    {"lop3", lop3, "9.7.8", ".b32"},
    {"shf", shf, "9.7.8", ".l .r, .clamp .wrap"},
    {"shl", shl, "9.7.8", ".b16 .b32 .b64"},
    {"shr", shr, "9.7.8", "all types"},
    {"prmt", prmt, "9.7.9", ".b32, default mode"},
};

}  // namespace

std::span<const Family> integer_families() { return kFamilies; }

}  // namespace sim
