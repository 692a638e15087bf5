// Applies an operation to the executing lanes of a warp.
//
// Traits<T> says how a value of PTX type T sits in a lane (4 or 8 bytes) and in which C++ type it is
// computed.  Operations are stateless structs with a static `op`.
#pragma once

#ifdef __F16C__
#include <immintrin.h>
#endif

#include <bit>
#include <cmath>
#include <type_traits>

#include "sim/ptx/decode.h"

namespace sim {

// ---- 16-bit floating point ----

inline float bf16_to_float(uint16_t b) { return std::bit_cast<float>(uint32_t(b) << 16); }
#ifdef __F16C__
inline float f16_to_float(uint16_t b) { return _cvtsh_ss(b); }
#else
float f16_to_float(uint16_t b);
#endif
uint16_t float_to_bf16(float f);  // round to nearest even
uint16_t float_to_f16(float f);
uint16_t double_to_bf16(double d);
uint16_t double_to_f16(double d);
inline float tf32_to_float(uint32_t b) { return std::bit_cast<float>(b & 0xffffe000u); }

struct F16 {};
struct BF16 {};

template <class T>
struct Traits {  // integers up to 32 bits
  using lane = uint32_t;
  using value = T;
  static value get(lane l) { return T(l); }
  static lane put(value v) { return lane(std::make_unsigned_t<T>(v)); }
};
template <>
struct Traits<uint64_t> {
  using lane = uint64_t;
  using value = uint64_t;
  static value get(lane l) { return l; }
  static lane put(value v) { return v; }
};
template <>
struct Traits<int64_t> {
  using lane = uint64_t;
  using value = int64_t;
  static value get(lane l) { return value(l); }
  static lane put(value v) { return lane(v); }
};
template <>
struct Traits<float> {
  using lane = uint32_t;
  using value = float;
  static value get(lane l) { return std::bit_cast<float>(l); }
  static lane put(value v) { return v != v ? 0x7fffffffu : std::bit_cast<uint32_t>(v); }  // the canonical NaN (9.7.3)
};
template <>
struct Traits<double> {
  using lane = uint64_t;
  using value = double;
  static value get(lane l) { return std::bit_cast<double>(l); }
  static lane put(value v) { return std::bit_cast<uint64_t>(v); }
};
template <>
struct Traits<F16> {  // computed in double, rounded once
  using lane = uint32_t;
  using value = double;
  static value get(lane l) { return f16_to_float(uint16_t(l)); }
  static lane put(value v) { return double_to_f16(v); }
};
template <>
struct Traits<BF16> {
  using lane = uint32_t;
  using value = double;
  static value get(lane l) { return bf16_to_float(uint16_t(l)); }
  static lane put(value v) { return double_to_bf16(v); }
};
template <class T>
using Value = typename Traits<T>::value;
template <class T>
using LaneOf = typename Traits<T>::lane;

template <class F>
inline void each_lane(uint32_t mask, F&& f) {
  if (mask == ~0u) {
#pragma GCC ivdep  // operands are whole registers: the same lanes or other ones
    for (int l = 0; l < 32; ++l) f(l);
  } else {
    for_lanes(mask, f);
  }
}

template <class Op, class T>
void unary(Warp& w, const Instr& i) {
  auto* d = w.reg<LaneOf<T>>(i.r[0]);
  auto* a = w.reg<LaneOf<T>>(i.r[1]);
  each_lane(w.mask, [&](int l) { d[l] = Traits<T>::put(Op::op(Traits<T>::get(a[l]))); });
}
template <class Op, class T>
void binary(Warp& w, const Instr& i) {
  auto* d = w.reg<LaneOf<T>>(i.r[0]);
  auto *a = w.reg<LaneOf<T>>(i.r[1]), *b = w.reg<LaneOf<T>>(i.r[2]);
  each_lane(w.mask, [&](int l) { d[l] = Traits<T>::put(Op::op(Traits<T>::get(a[l]), Traits<T>::get(b[l]))); });
}
template <class Op, class T>
void ternary(Warp& w, const Instr& i) {
  auto* d = w.reg<LaneOf<T>>(i.r[0]);
  auto *a = w.reg<LaneOf<T>>(i.r[1]), *b = w.reg<LaneOf<T>>(i.r[2]), *c = w.reg<LaneOf<T>>(i.r[3]);
  each_lane(w.mask, [&](int l) { d[l] = Traits<T>::put(Op::op(Traits<T>::get(a[l]), Traits<T>::get(b[l]), Traits<T>::get(c[l]))); });
}

// Packed f16x2 / bf16x2: H is F16 or BF16.
template <class Op, class H, int N>
void packed(Warp& w, const Instr& i) {
  auto half = [&](int operand, int l, int h) { return Traits<H>::get(w.reg<uint32_t>(i.r[operand])[l] >> 16 * h & 0xffff); };
  each_lane(w.mask, [&](int l) {
    uint32_t r = 0;
    for (int h = 0; h < 2; ++h) {
      double v;
      if constexpr (N == 1)
        v = Op::op(half(1, l, h));
      else if constexpr (N == 2)
        v = Op::op(half(1, l, h), half(2, l, h));
      else
        v = Op::op(half(1, l, h), half(2, l, h), half(3, l, h));
      r |= Traits<H>::put(v) << 16 * h;
    }
    w.reg<uint32_t>(i.r[0])[l] = r;
  });
}

// Emits `d, a, b...` of one type.
template <int N>
inline void emit_same(Decoder& d, Handler h, Type t) {
  if (d.count() != N + 1) d.unsupported("number of operands");
  std::vector<uint32_t> r{d.dest(0)};
  for (int k = 1; k <= N; ++k) r.push_back(d.source(size_t(k), t));
  d.emit(h, r);
}

}  // namespace sim
