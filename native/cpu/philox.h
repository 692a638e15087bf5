#pragma once
// Philox4x32-10 (core/random.h) for many elements at once. Only for files compiled per instruction set (kernels.h).
#include "core/random.h"
#include "cpu/vec.h"

namespace heddle::cpu::HEDDLE_ISA {
namespace {

typedef uint32_t vu __attribute__((vector_size(VW * 4)));

struct Wide {  // 32 x 32 -> 64 bits, lane by lane
  vu high, low;
};

inline Wide multiply_wide(vu a, uint32_t b) {
  const vu factor = b - vu{};
#if defined(__AVX512F__)
  const __m512i even = _mm512_mul_epu32((__m512i)a, (__m512i)factor);
  const __m512i odd = _mm512_mul_epu32(_mm512_srli_epi64((__m512i)a, 32), (__m512i)factor);
  return {(vu)_mm512_mask_blend_epi32(0xaaaa, _mm512_srli_epi64(even, 32), odd), a * factor};
#elif defined(__AVX2__)
  const __m256i even = _mm256_mul_epu32((__m256i)a, (__m256i)factor);
  const __m256i odd = _mm256_mul_epu32(_mm256_srli_epi64((__m256i)a, 32), (__m256i)factor);
  return {(vu)_mm256_blend_epi32(_mm256_srli_epi64(even, 32), odd, 0xaa), a * factor};
#elif defined(__x86_64__)
  const __m128i even = _mm_mul_epu32((__m128i)a, (__m128i)factor);
  const __m128i odd = _mm_mul_epu32(_mm_srli_epi64((__m128i)a, 32), (__m128i)factor);
  return {(vu)_mm_blend_epi16(_mm_srli_epi64(even, 32), odd, 0xcc), a * factor};
#else
  Wide w{};
  for (int i = 0; i < VW; ++i) {
    const uint64_t product = uint64_t{a[i]} * b;
    w.high[i] = static_cast<uint32_t>(product >> 32);
    w.low[i] = static_cast<uint32_t>(product);
  }
  (void)factor;
  return w;
#endif
}

// The numbers of VW blocks, block .. block + VW - 1: x[w] holds word w of each, lane l that of block + order(l), in the order
// that interleave() wants: the 4 x 4 squares it turns lie within 128 bits.
struct Philox {
  vu x[4];
};

inline Philox philox_blocks(uint32_t seed_low, uint32_t seed_high, uint64_t block, uint32_t stream, uint32_t step) {
  vu lanes;
  for (int i = 0; i < VW; ++i) lanes[i] = static_cast<uint32_t>(i % 4 * (VW / 4) + i / 4);
  const vu first = static_cast<uint32_t>(block) - vu{};
  vu c0 = first + lanes;
  vu c1 = static_cast<uint32_t>(block >> 32) - (vu)(c0 < first);  // the carry: a true lane is -1
  vu c2 = stream - vu{}, c3 = step - vu{};
  uint32_t k0 = seed_low, k1 = seed_high;
  for (int round = 0; round < 10; ++round) {
    const Wide p0 = multiply_wide(c0, 0xD2511F53u), p1 = multiply_wide(c2, 0xCD9E8D57u);
    c0 = p1.high ^ c1 ^ k0;
    c2 = p0.high ^ c3 ^ k1;
    c1 = p1.low;
    c3 = p0.low;
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  return {{c0, c1, c2, c3}};
}

// Words of blocks into the order of elements: afterwards x[0], x[1], x[2], x[3] one after the other hold elements
// 4*block .. 4*(block + VW) - 1. V is a vector of 32-bit lanes.
template <class V>
inline void interleave(V (&x)[4]) {
#if defined(__AVX512F__)
  const __m512i a = (__m512i)x[0], b = (__m512i)x[1], c = (__m512i)x[2], d = (__m512i)x[3];
  const __m512i ab0 = _mm512_unpacklo_epi32(a, b), ab1 = _mm512_unpackhi_epi32(a, b);
  const __m512i cd0 = _mm512_unpacklo_epi32(c, d), cd1 = _mm512_unpackhi_epi32(c, d);
  x[0] = (V)_mm512_unpacklo_epi64(ab0, cd0);
  x[1] = (V)_mm512_unpackhi_epi64(ab0, cd0);
  x[2] = (V)_mm512_unpacklo_epi64(ab1, cd1);
  x[3] = (V)_mm512_unpackhi_epi64(ab1, cd1);
#elif defined(__AVX2__)
  const __m256i a = (__m256i)x[0], b = (__m256i)x[1], c = (__m256i)x[2], d = (__m256i)x[3];
  const __m256i ab0 = _mm256_unpacklo_epi32(a, b), ab1 = _mm256_unpackhi_epi32(a, b);
  const __m256i cd0 = _mm256_unpacklo_epi32(c, d), cd1 = _mm256_unpackhi_epi32(c, d);
  x[0] = (V)_mm256_unpacklo_epi64(ab0, cd0);
  x[1] = (V)_mm256_unpackhi_epi64(ab0, cd0);
  x[2] = (V)_mm256_unpacklo_epi64(ab1, cd1);
  x[3] = (V)_mm256_unpackhi_epi64(ab1, cd1);
#else
  static_assert(VW == 4);
  for (int i = 0; i < 4; ++i)
    for (int j = 0; j < i; ++j) {
      const auto t = x[i][j];
      x[i][j] = x[j][i];
      x[j][i] = t;
    }
#endif
}

}  // namespace
}  // namespace heddle::cpu::HEDDLE_ISA
