// 9.7.8 Logic and Shift.
#include "sim/ops/integer.h"

namespace sim {
namespace {

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
// lop3.or / lop3.and: also p = (d != 0) op q.
template <bool Or>
void lop3_pred_run(Warp& w, const Instr& i) {  // r: as lop3, then p, q; flags: q is negated
  lop3_run(w, i);
  uint32_t set = 0;
  for_lanes(w.mask, [&](int l) { set |= uint32_t(w.reg<uint32_t>(i.r[0])[l] != 0) << l; });
  const uint32_t q = w.pred(i.r[5]) ^ (i.flags ? ~0u : 0);
  uint32_t& p = w.pred(i.r[4]);
  p = (p & ~w.mask) | ((Or ? set | q : set & q) & w.mask);
}
void lop3(Decoder& d) {
  const auto combine = d.take_any({"or", "and"});
  d.need("b32");
  d.instr.imm = d.constant(4);
  const Operand& to = d.operand(0);
  std::vector<uint32_t> r{d.dest(to.kind == Operand::Pair ? to.parts[0] : to), d.source(1, Type::b32), d.source(2, Type::b32),
                          d.source(3, Type::b32)};
  if (combine.empty()) return d.emit(lop3_run, r);
  if (to.kind != Operand::Pair) d.unsupported("expected d|p");
  if (r[0] == kNone) d.unsupported("a result that is thrown away");
  bool negated = false;
  r.push_back(d.dest(to.parts[1]));
  r.push_back(d.predicate(5, &negated));
  d.instr.flags = negated;
  d.emit(combine == "or" ? lop3_pred_run<true> : lop3_pred_run<false>, r);
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

constexpr Family kFamilies[] = {
    {"and", logic<AndOp>, "9.7.8", ".pred .b16 .b32 .b64"},
    {"or", logic<OrOp>, "9.7.8", ".pred .b16 .b32 .b64"},
    {"xor", logic<XorOp>, "9.7.8", ".pred .b16 .b32 .b64"},
    {"not", not_, "9.7.8", ".pred .b16 .b32 .b64"},
    {"cnot", cnot, "9.7.8", ".b16 .b32 .b64"},
    {"lop3", lop3, "9.7.8", ".b32; .and .or with a predicate"},
    {"shf", shf, "9.7.8", ".l .r, .clamp .wrap"},
    {"shl", shl, "9.7.8", ".b16 .b32 .b64"},
    {"shr", shr, "9.7.8", "all types"},
};

}  // namespace

std::span<const Family> logic_families() { return kFamilies; }

}  // namespace sim
