// Binary floating-point formats and rounding to them (5.2 Types; IEEE 754).
#include "sim/ops/formats.h"

#include <algorithm>
#include <array>

#include "sim/machine/lanes.h"

namespace sim {

#ifndef __F16C__
float f16_to_float(uint16_t h) {
  const uint32_t sign = uint32_t(h & 0x8000) << 16, exponent = h >> 10 & 31, fraction = h & 1023;
  if (exponent == 31) return std::bit_cast<float>(sign | 0x7f800000u | fraction << 13);
  if (exponent) return std::bit_cast<float>(sign | (exponent + 112) << 23 | fraction << 13);
  const float v = float(fraction) * 0x1p-24f;
  return sign ? -v : v;
}
#endif
uint16_t float_to_bf16(float f) {
  uint32_t b = std::bit_cast<uint32_t>(f);
  if ((b & 0x7fffffff) > 0x7f800000) return 0x7fff;
  return uint16_t((b + 0x7fff + (b >> 16 & 1)) >> 16);
}

namespace {

double overflow(bool negative, const Format& f, Rounding mode) {
  const bool to_largest = mode == Rounding::Zero || (mode == Rounding::Down && !negative) || (mode == Rounding::Up && negative);
  const double v = to_largest ? f.largest : INFINITY;
  return negative ? -v : v;
}

}  // namespace

double round_to(double v, const Format& f, Rounding mode) {
  if (v == 0 || !std::isfinite(v)) return v;
  const int e = int(std::bit_cast<uint64_t>(v) >> 52 & 2047) - 1023;  // a subnormal double is below every emin but its own
  if (f.precision == 53) return v;
  const double unit = std::ldexp(1.0, std::max(e, f.emin) - (f.precision - 1));
  const double q = v / unit;  // exact: unit is a power of two
  double r = 0;
  switch (mode) {
    case Rounding::Nearest:
      r = std::nearbyint(q);
      break;
    case Rounding::Zero:
      r = std::trunc(q);
      break;
    case Rounding::Down:
      r = std::floor(q);
      break;
    case Rounding::Up:
      r = std::ceil(q);
      break;
    case Rounding::Away:
      r = std::round(q);
      break;
  }
  r = std::copysign(r * unit, v);
  return std::fabs(r) <= f.largest ? r : overflow(std::signbit(v), f, mode);
}

double round_integer(bool negative, uint64_t magnitude, const Format& f, Rounding mode) {
  const int drop = 64 - std::countl_zero(magnitude) - f.precision;
  if (drop > 0) {
    const uint64_t rest = magnitude & ((uint64_t(1) << drop) - 1), half = uint64_t(1) << (drop - 1);
    unsigned __int128 kept = magnitude - rest;
    const bool odd = magnitude >> drop & 1;
    bool up = false;
    switch (mode) {
      case Rounding::Nearest:
        up = rest > half || (rest == half && odd);
        break;
      case Rounding::Away:
        up = rest >= half;
        break;
      case Rounding::Down:
        up = rest && negative;
        break;
      case Rounding::Up:
        up = rest && !negative;
        break;
      case Rounding::Zero:
        break;
    }
    if (up) kept += uint64_t(1) << drop;
    const double v = double(kept);
    if (v > f.largest) return overflow(negative, f, mode);
    return negative ? -v : v;
  }
  const double v = double(magnitude);
  if (v > f.largest) return overflow(negative, f, mode);
  return negative ? -v : v;
}

uint16_t pack_f16(double v) {
  const uint16_t sign = std::signbit(v) ? 0x8000 : 0;
  if (v != v) return 0x7fff;
  v = std::fabs(v);
  if (std::isinf(v)) return sign | 0x7c00;
  if (v < 0x1p-14) return uint16_t(sign | uint16_t(v * 0x1p24));
  const uint64_t b = std::bit_cast<uint64_t>(v);
  return uint16_t(sign | ((b >> 52) - 1023 + 15) << 10 | (b >> 42 & 1023));
}
uint16_t pack_bf16(double v) { return v != v ? 0x7fff : uint16_t(std::bit_cast<uint32_t>(float(v)) >> 16); }

uint16_t double_to_f16(double v) { return pack_f16(round_to(v, kF16)); }
uint16_t float_to_f16(float f) {
#ifdef __F16C__
  return f != f ? 0x7fff : uint16_t(_cvtss_sh(f, _MM_FROUND_TO_NEAREST_INT));
#else
  return double_to_f16(f);
#endif
}
uint16_t double_to_bf16(double v) { return pack_bf16(round_to(v, kBf16)); }

namespace {

// e4m3 has no infinity and one NaN per sign; e5m2 is the upper half of f16.
constexpr std::array<float, 256> fp8_table(bool e4m3) {
  std::array<float, 256> t{};
  for (int b = 0; b < 256; ++b) {
    const int mantissa_bits = e4m3 ? 3 : 2, bias = e4m3 ? 7 : 15;
    const int exponent = (b & 127) >> mantissa_bits, mantissa = b & ((1 << mantissa_bits) - 1);
    float v;
    if (e4m3 ? (b & 127) == 127 : exponent == 31 && mantissa) {
      v = __builtin_nanf("");
    } else if (!e4m3 && exponent == 31) {
      v = __builtin_inff();
    } else {
      v = float(mantissa + (exponent ? 1 << mantissa_bits : 0));
      for (int e = (exponent ? exponent : 1) - bias - mantissa_bits; e != 0; e += e < 0 ? 1 : -1) v = e < 0 ? v / 2 : v * 2;
    }
    t[size_t(b)] = b & 128 ? -v : v;
  }
  return t;
}
constexpr auto kE4m3Table = fp8_table(true), kE5m2Table = fp8_table(false);

}  // namespace

float fp8_to_float(uint8_t b, ptx::Type t) { return (t == ptx::Type::e4m3 ? kE4m3Table : kE5m2Table)[b]; }

namespace {

// Exponent and mantissa of |v|, rounded and saturated.
uint8_t pack_magnitude(double v, const Format& f) {
  v = std::min(std::fabs(round_to(v, f)), f.largest);
  const int mantissa_bits = f.precision - 1;
  if (v < std::ldexp(1.0, f.emin)) return uint8_t(std::ldexp(v, mantissa_bits - f.emin));
  const uint64_t b = std::bit_cast<uint64_t>(v);
  const uint64_t exponent = (b >> 52) - 1023 + uint64_t(1 - f.emin);
  return uint8_t(exponent << mantissa_bits | (b >> (52 - mantissa_bits) & ((1u << mantissa_bits) - 1)));
}

}  // namespace

uint8_t double_to_fp8(double v, ptx::Type t) {
  if (v != v) return 0x7f;
  return uint8_t((std::signbit(v) ? 0x80 : 0) | pack_magnitude(v, t == ptx::Type::e4m3 ? kE4m3 : kE5m2));
}

bool is_narrow(ptx::Type t) { return t >= ptx::Type::e2m1 && t <= ptx::Type::ue8m0; }

namespace {

const Format& narrow_format(ptx::Type t) { return t == ptx::Type::e2m1 ? kE2m1 : t == ptx::Type::e2m3 ? kE2m3 : kE3m2; }

uint8_t double_to_ue8m0(double v, Rounding mode) {
  if (v != v) return 0xff;
  int e;
  const double fraction = std::frexp(std::fabs(v), &e);  // in [0.5, 1)
  if (v == 0) return 0;
  const bool up = mode == Rounding::Up && fraction > 0.5;
  return std::isinf(v) ? 0xfe : uint8_t(std::clamp(e - 1 + up + 127, 0, 254));
}

}  // namespace

uint8_t double_to_narrow(double v, ptx::Type t, Rounding mode) {
  if (t == ptx::Type::ue8m0) return double_to_ue8m0(v, mode);
  const Format& f = narrow_format(t);
  if (v != v) v = f.largest;
  return uint8_t((std::signbit(v) ? 1 << (ptx::bits(t) - 1) : 0) | pack_magnitude(v, f));
}

double narrow_to_double(uint8_t b, ptx::Type t) {
  if (t == ptx::Type::ue8m0) return b == 0xff ? NAN : std::ldexp(1.0, b - 127);
  const Format& f = narrow_format(t);
  const int mantissa_bits = f.precision - 1, sign_bit = ptx::bits(t) - 1;
  const int magnitude = b & ((1 << sign_bit) - 1), exponent = magnitude >> mantissa_bits, mantissa = magnitude & ((1 << mantissa_bits) - 1);
  const double v = std::ldexp(mantissa + (exponent ? 1 << mantissa_bits : 0), std::max(exponent, 1) - 1 + f.emin - mantissa_bits);
  return b >> sign_bit & 1 ? -v : v;
}

}  // namespace sim
