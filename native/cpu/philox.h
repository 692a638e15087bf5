#pragma once
// Philox4x32-10 (core/random.h) for many elements at once. Only for files compiled per instruction set (kernels.h).
#include "core/random.h"
#include "cpu/vec.h"

namespace heddle::cpu::HEDDLE_ISA {
namespace {

typedef uint32_t vu __attribute__((vector_size(VW * 4)));

typedef uint64_t vq __attribute__((vector_size(VW * 4)));

// The low halves of the 64-bit lanes times b, whole.
inline vq multiply_low(vq a, uint32_t b) {
  const vq factor = vq{} + b;
#if defined(__AVX512F__)
  return (vq)_mm512_mul_epu32((__m512i)a, (__m512i)factor);
#elif defined(__AVX2__)
  return (vq)_mm256_mul_epu32((__m256i)a, (__m256i)factor);
#elif defined(__x86_64__)
  return (vq)_mm_mul_epu32((__m128i)a, (__m128i)factor);
#else
  return (a & 0xFFFFFFFFu) * factor;
#endif
}

// The numbers of VW blocks, block .. block + VW - 1: x[w] holds word w of each, lane l that of block + order(l), in the order
// that interleave() wants: the 4 x 4 squares it turns lie within 128 bits.
struct Philox {
  vu x[4];
};

// The keys of the rounds in every lane: made once, read from L1. Made anew for every block they would cost as much as the products.
struct PhiloxKeys {
  vq k[10][2];
  PhiloxKeys(uint32_t k0, uint32_t k1) {
    for (auto& round : k) {
      round[0] = vq{} + k0;
      round[1] = vq{} + k1;
      k0 += 0x9E3779B9u;
      k1 += 0xBB67AE85u;
    }
  }
};

inline Philox philox_blocks(const PhiloxKeys& keys, uint64_t block, uint32_t stream, uint32_t step) {
  vu lanes;
  for (int i = 0; i < VW; ++i) lanes[i] = static_cast<uint32_t>(i % 4 * (VW / 4) + i / 4);
  const vu first = static_cast<uint32_t>(block) - vu{};
  vu c0 = first + lanes;
  vu c1 = static_cast<uint32_t>(block >> 32) - (vu)(c0 < first);  // the carry: a true lane is -1
  // Every other lane for itself, in the low half of 64 bits: a product then lies where the next round wants its two halves. What the
  // high halves hold is never read.
  constexpr uint64_t kLow = 0xFFFFFFFFu;
  vq c[2][4];
  for (int odd = 0; odd < 2; ++odd) {
    c[odd][0] = (vq)c0 >> (32 * odd);
    c[odd][1] = (vq)c1 >> (32 * odd);
    c[odd][2] = vq{} + stream;
    c[odd][3] = vq{} + step;
  }
#pragma GCC unroll 10
  for (int round = 0; round < 10; ++round) {
    for (auto& x : c) {
      const vq p0 = multiply_low(x[0], 0xD2511F53u), p1 = multiply_low(x[2], 0xCD9E8D57u);
      x[0] = (p1 >> 32) ^ x[1] ^ keys.k[round][0];
      x[2] = (p0 >> 32) ^ x[3] ^ keys.k[round][1];
      x[1] = p1;
      x[3] = p0;
    }
  }
  Philox result;
  for (int w = 0; w < 4; ++w) result.x[w] = (vu)((c[0][w] & kLow) | (c[1][w] << 32));
  return result;
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
