#pragma once
// Conversions between the element types, dense to dense. Only for files compiled per instruction set (kernels.h).
//
// To bf16 and f16: round to nearest even, NaN stays NaN. Floats to i32 and u8: truncate, saturate, NaN becomes 0; i32 to u8
// keeps the low 8 bits. To bool: x != 0. i32 to bf16 and f16 goes through f32.
#include "core/dtype.h"
#include "cpu/vec.h"

namespace heddle::cpu::HEDDLE_ISA {
namespace {

inline float float_of(uint32_t bits) {
  float x;
  __builtin_memcpy(&x, &bits, 4);
  return x;
}
inline uint32_t bits_of(float x) {
  uint32_t bits;
  __builtin_memcpy(&bits, &x, 4);
  return bits;
}

inline uint16_t to_bf16(float x) {
  const uint32_t b = bits_of(x);
  const uint32_t rounded = (b + 0x7fffu + (b >> 16 & 1u)) >> 16, quiet = b >> 16 | 0x40u;
  return static_cast<uint16_t>((b & 0x7fffffffu) > 0x7f800000u ? quiet : rounded);
}
inline float from_bf16(uint16_t h) { return float_of(uint32_t{h} << 16); }

// The same bits as the F16C instructions, quieted NaNs included.
inline uint16_t to_f16(float x) {
  const uint32_t b = bits_of(x), sign = b >> 16 & 0x8000u, a = b & 0x7fffffffu;
  uint32_t h;
  if (a > 0x7f800000u)
    h = 0x7e00u | (a >> 13 & 0x3ffu);
  else if (a >= 0x47800000u)  // 65536 and more
    h = 0x7c00u;
  else if (a < 0x38800000u)  // below 2^-14, denormal: 0.5 has a unit in the last place of 2^-24, so the sum rounds to it
    h = bits_of(float_of(a) + 0.5f) - bits_of(0.5f);
  else
    h = (a - 0x38000000u + 0xfffu + (a >> 13 & 1u)) >> 13;
  return static_cast<uint16_t>(sign | h);
}
inline float from_f16(uint16_t h) {
  const uint32_t sign = (h & 0x8000u) << 16, a = (h & 0x7fffu) << 13;
  if (a >= 0x0f800000u) return float_of(sign | 0x7f800000u | a | (a > 0x0f800000u ? 0x400000u : 0u));  // inf, NaN
  return float_of(sign | bits_of(float_of(a) * 0x1p112f));
}

inline int32_t to_i32(float x) {
  const float inside = x > -0x1p31f ? x : -0x1p31f;  // NaN too
  const int32_t truncated = static_cast<int32_t>(inside < 0x1p31f ? inside : 0.0f);
  return x != x ? 0 : x >= 0x1p31f ? INT32_MAX : truncated;
}
inline uint8_t to_u8(float x) {
  const float inside = x > 0.0f ? x : 0.0f;  // NaN too
  return static_cast<uint8_t>(static_cast<int32_t>(inside < 255.0f ? inside : 255.0f));
}

inline void halves_to_f32(const uint16_t* src, float* dst, int64_t n) {
  int64_t i = 0;
#if defined(__F16C__)
  for (; i + 8 <= n; i += 8) _mm256_storeu_ps(dst + i, _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(src + i))));
#endif
  for (; i < n; ++i) dst[i] = from_f16(src[i]);
}
inline void f32_to_halves(const float* src, uint16_t* dst, int64_t n) {
  int64_t i = 0;
#if defined(__F16C__)
  for (; i + 8 <= n; i += 8)
    _mm_storeu_si128(reinterpret_cast<__m128i*>(dst + i), _mm256_cvtps_ph(_mm256_loadu_ps(src + i), _MM_FROUND_TO_NEAREST_INT));
#endif
  for (; i < n; ++i) dst[i] = to_f16(src[i]);
}

template <class S, class D, class F>
inline void each(const void* src, void* dst, int64_t n, F f) {
  const S* s = static_cast<const S*>(src);
  D* d = static_cast<D*>(dst);
  for (int64_t i = 0; i < n; ++i) d[i] = f(s[i]);
}

inline void to_f32(DType from, const void* src, float* dst, int64_t n) {
  switch (from) {
    case DType::f32:
      __builtin_memcpy(dst, src, static_cast<size_t>(n) * 4);
      return;
    case DType::bf16:
      return each<uint16_t, float>(src, dst, n, [](uint16_t x) { return from_bf16(x); });
    case DType::f16:
      return halves_to_f32(static_cast<const uint16_t*>(src), dst, n);
    case DType::i32:
      return each<int32_t, float>(src, dst, n, [](int32_t x) { return static_cast<float>(x); });
    case DType::u8:
      return each<uint8_t, float>(src, dst, n, [](uint8_t x) { return static_cast<float>(x); });
    case DType::boolean:
      return each<uint8_t, float>(src, dst, n, [](uint8_t x) { return x ? 1.0f : 0.0f; });
  }
}

inline void from_f32(const float* src, DType to, void* dst, int64_t n) {
  switch (to) {
    case DType::f32:
      __builtin_memcpy(dst, src, static_cast<size_t>(n) * 4);
      return;
    case DType::bf16:
      return each<float, uint16_t>(src, dst, n, [](float x) { return to_bf16(x); });
    case DType::f16:
      return f32_to_halves(src, static_cast<uint16_t*>(dst), n);
    case DType::i32:
      return each<float, int32_t>(src, dst, n, [](float x) { return to_i32(x); });
    case DType::u8:
      return each<float, uint8_t>(src, dst, n, [](float x) { return to_u8(x); });
    case DType::boolean:
      return each<float, uint8_t>(src, dst, n, [](float x) -> uint8_t { return x != 0; });
  }
}

// i32, u8 and bool among themselves, without f32's 24 bits.
inline void convert_integers(DType from, const void* src, DType to, void* dst, int64_t n) {
  if (from == DType::i32) {
    if (to == DType::u8) return each<int32_t, uint8_t>(src, dst, n, [](int32_t x) { return static_cast<uint8_t>(x); });
    return each<int32_t, uint8_t>(src, dst, n, [](int32_t x) -> uint8_t { return x != 0; });
  }
  if (from == DType::boolean) {
    if (to == DType::i32) return each<uint8_t, int32_t>(src, dst, n, [](uint8_t x) -> int32_t { return x != 0; });
  } else if (to == DType::i32) {
    return each<uint8_t, int32_t>(src, dst, n, [](uint8_t x) { return static_cast<int32_t>(x); });
  }
  each<uint8_t, uint8_t>(src, dst, n, [](uint8_t x) -> uint8_t { return x != 0; });
}

// n elements of two different types; src and dst do not overlap.
inline void convert(DType from, const void* src, DType to, void* dst, int64_t n) {
  if (!is_float(from) && !is_float(to)) return convert_integers(from, src, to, dst, n);
  if (from == DType::f32) return from_f32(static_cast<const float*>(src), to, dst, n);
  if (to == DType::f32) return to_f32(from, src, static_cast<float*>(dst), n);
  constexpr int64_t kBlock = 256;
  float block[kBlock];
  const char* s = static_cast<const char*>(src);
  char* d = static_cast<char*>(dst);
  for (int64_t i = 0; i < n; i += kBlock) {
    const int64_t count = n - i < kBlock ? n - i : kBlock;
    to_f32(from, s + i * static_cast<int64_t>(size_of(from)), block, count);
    from_f32(block, to, d + i * static_cast<int64_t>(size_of(to)), count);
  }
}

}  // namespace
}  // namespace heddle::cpu::HEDDLE_ISA
