#pragma once
// fp8: numbers of 8 bits with one scale for a whole tensor (Micikevicius et al., "FP8 Formats for Deep Learning", 2022). A code is sign,
// exponent, mantissa; e4m3 has no infinities and one NaN of each sign, e5m2 is the upper half of an f16. Number i is value(code) * scale.
#include <cstdint>

#include "core/random.h"

namespace heddle {

enum class FP8 : int32_t { e4m3, e5m2 };

HEDDLE_HOST_DEVICE static constexpr int fp8_mantissa(FP8 format) { return format == FP8::e4m3 ? 3 : 2; }
HEDDLE_HOST_DEVICE static constexpr int fp8_bias(FP8 format) { return format == FP8::e4m3 ? 7 : 15; }
HEDDLE_HOST_DEVICE static constexpr float fp8_largest(FP8 format) { return format == FP8::e4m3 ? 448.0f : 57344.0f; }

// The nearest code, of two the even one; what is too large becomes the largest number, NaN stays one: what PTX calls cvt.rn.satfinite.
HEDDLE_HOST_DEVICE static inline uint8_t fp8_code(FP8 format, float x) {
  const int mantissa = fp8_mantissa(format), bias = fp8_bias(format), dropped = 23 - mantissa;
  const uint32_t bits = __builtin_bit_cast(uint32_t, x), sign = bits >> 24 & 0x80;
  const uint32_t largest = __builtin_bit_cast(uint32_t, fp8_largest(format)), smallest_normal = static_cast<uint32_t>(128 - bias) << 23;
  uint32_t magnitude = bits & 0x7fffffff;
  if (magnitude > 0x7f800000) return 0x7f;
  if (magnitude > largest) magnitude = largest;
  if (magnitude < smallest_normal) {
    // Beside this number an f32 has steps as wide as the format's smallest ones: the addition rounds.
    const uint32_t wide = static_cast<uint32_t>(151 - bias - mantissa) << 23;
    const float sum = __builtin_bit_cast(float, magnitude) + __builtin_bit_cast(float, wide);
    return static_cast<uint8_t>(sign | (__builtin_bit_cast(uint32_t, sum) - wide));
  }
  const uint32_t rounded = magnitude + (magnitude >> dropped & 1) + (1u << (dropped - 1)) - 1;
  return static_cast<uint8_t>(sign | ((rounded >> dropped) - (static_cast<uint32_t>(127 - bias) << mantissa)));
}

// What a code stands for, before the scale: exact in f32, bf16 and f16.
HEDDLE_HOST_DEVICE static inline float fp8_value(FP8 format, uint8_t code) {
  const uint32_t magnitude = code & 0x7f, sign = static_cast<uint32_t>(code & 0x80) << 24;
  uint32_t bits;
  if (format == FP8::e4m3 ? magnitude == 0x7f : magnitude > 0x7c) {
    bits = 0x7fc00000;
  } else if (format == FP8::e5m2 && magnitude == 0x7c) {
    bits = 0x7f800000;
  } else {
    // The code's fields in an f32's places, subnormal ones too; a power of two makes up for the other bias.
    const float power = __builtin_bit_cast(float, static_cast<uint32_t>(254 - fp8_bias(format)) << 23);
    bits = __builtin_bit_cast(uint32_t, __builtin_bit_cast(float, magnitude << (23 - fp8_mantissa(format))) * power);
  }
  return __builtin_bit_cast(float, sign | bits);
}

// By the largest absolute value of a tensor, which then has the format's largest code; 1 where that would be 0.
HEDDLE_HOST_DEVICE static inline float fp8_scale(FP8 format, float largest) {
  const float scale = largest / fp8_largest(format);
  return scale == 0.0f ? 1.0f : scale;
}

}  // namespace heddle
