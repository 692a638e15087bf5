// 9.7.2 Extended-Precision Integer Arithmetic: add.cc, addc, sub.cc, subc, mad.cc, madc.
//
// The condition code is a predicate of the warp.
#include "sim/ops/integer.h"

namespace sim {
namespace {

constexpr uint64_t kIn = 1, kOut = 2, kHigh = 4;  // Instr::flags

struct CarryAdd {
  static constexpr int operands = 2;
  template <class T>
  static T op(const Instr&, T a, T b, T, bool carry, bool& out) {
    const T sum = T(a + b), with = T(sum + T(carry));
    out = sum < a || with < sum;
    return with;
  }
};
// a + ~b + carry: as in the machine, the condition code of a subtraction is set when there is no borrow, and nvcc's
// 128-bit division reads it with addc.
struct CarrySub {
  static constexpr int operands = 2;
  template <class T>
  static T op(const Instr& i, T a, T b, T, bool carry, bool& out) {
    return CarryAdd::op(i, a, T(~b), T(0), carry || !(i.flags & kIn), out);
  }
};
template <class Wide, bool Signed>
struct CarryMad {
  static constexpr int operands = 3;
  template <class T>
  static T op(const Instr& i, T a, T b, T c, bool carry, bool& out) {
    using S = std::conditional_t<Signed, std::make_signed_t<T>, T>;
    const Wide product = Wide(S(a)) * Wide(S(b));
    const T part = i.flags & kHigh ? T(product >> (8 * sizeof(T))) : T(product);
    return CarryAdd::op(i, part, c, T(0), carry, out);
  }
};

template <class Op, class T>
void carry_run(Warp& w, const Instr& i) {  // r: d, carry, a, b [, c]
  auto *d = w.reg<T>(i.r[0]), *a = w.reg<T>(i.r[2]), *b = w.reg<T>(i.r[3]), *c = w.reg<T>(i.r[Op::operands + 1]);
  const uint32_t before = i.flags & kIn ? w.pred(i.r[1]) : 0;
  uint32_t after = 0;
  for_lanes(w.mask, [&](int l) {
    bool out = false;
    d[l] = Op::op(i, a[l], b[l], c[l], before >> l & 1, out);
    after |= uint32_t(out) << l;
  });
  if (i.flags & kOut) w.pred(i.r[1]) = (w.pred(i.r[1]) & ~w.mask) | after;
}

template <class Op, class Op64>
void emit_carry(Decoder& d, Type t, uint64_t flags) {
  if (d.take("cc")) flags |= kOut;
  d.instr.flags = flags;
  std::vector<uint32_t> r{d.dest(0), d.carry()};
  for (size_t k = 1; k <= size_t(Op::operands); ++k) r.push_back(d.source(k, t));
  d.emit(is_wide(t) ? carry_run<Op64, uint64_t> : carry_run<Op, uint32_t>, r);
}
void emit_mad(Decoder& d, Type t, uint64_t flags) {
  if (d.take("hi"))
    flags |= kHigh;
  else
    d.need("lo");
  if (ptx::is_signed(t))
    emit_carry<CarryMad<int64_t, true>, CarryMad<__int128, true>>(d, t, flags);
  else
    emit_carry<CarryMad<uint64_t, false>, CarryMad<unsigned __int128, false>>(d, t, flags);
}

Type carry_type(Decoder& d) {
  const Type t = d.take_type();
  if (ptx::bits(t) != 32 && ptx::bits(t) != 64) d.unsupported("type");
  return t;
}
void addc(Decoder& d) { emit_carry<CarryAdd, CarryAdd>(d, carry_type(d), kIn); }
void subc(Decoder& d) { emit_carry<CarrySub, CarrySub>(d, carry_type(d), kIn); }
void madc(Decoder& d) { emit_mad(d, carry_type(d), kIn); }

constexpr Family kFamilies[] = {
    {"addc", addc, "9.7.2", ".u32 .s32 .u64 .s64; .cc"},
    {"subc", subc, "9.7.2", ".u32 .s32 .u64 .s64; .cc"},
    {"madc", madc, "9.7.2", ".lo .hi; .u32 .s32 .u64 .s64; .cc"},
};

}  // namespace

// add.cc, sub.cc, mad.cc: said by the modifier.
bool decode_carry(Decoder& d, std::string_view opcode) {
  if (!d.has("cc")) return false;
  const Type t = carry_type(d);
  if (opcode == "add")
    emit_carry<CarryAdd, CarryAdd>(d, t, 0);
  else if (opcode == "sub")
    emit_carry<CarrySub, CarrySub>(d, t, 0);
  else
    emit_mad(d, t, 0);
  return true;
}

std::span<const Family> carry_families() { return kFamilies; }

}  // namespace sim
