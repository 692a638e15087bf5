#pragma once
// Philox4x32-10 (core/random.h) for many elements at once. Only for files compiled per instruction set (kernels.h).
#include "core/random.h"
#include "cpu/vec.h"

namespace heddle::cpu::HEDDLE_ISA {
namespace {

typedef uint32_t vu __attribute__((vector_size(VW * 4)));

constexpr uint32_t kPhilox0 = 0xD2511F53u, kPhilox1 = 0xCD9E8D57u;  // the factors

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

// One vector of the low halves of both.
inline vu low_halves(vq even, vq odd) {
#if defined(__AVX512F__)
  return (vu)_mm512_mask_shuffle_epi32((__m512i)even, 0xAAAA, (__m512i)odd, _MM_PERM_CCAA);
#else
  return (vu)((even & 0xFFFFFFFFu) | (odd << 32));
#endif
}

// The same by the definition, for the one place in 2^32 blocks where the low half of the counter wraps.
inline uint32_t lane_order(int lane) { return static_cast<uint32_t>(lane % 4 * (VW / 4) + lane / 4); }
inline Philox philox_lanes(const PhiloxKeys& keys, uint64_t block, uint32_t stream, uint32_t step) {
  Philox out;
  for (int i = 0; i < VW; ++i) {
    const Random4 words =
        philox(static_cast<uint32_t>(keys.k[0][0][0]), static_cast<uint32_t>(keys.k[0][1][0]), block + lane_order(i), stream, step);
    for (int w = 0; w < 4; ++w) out.x[w][i] = words.x[w];
  }
  return out;
}

// N times VW blocks, from `block` on. The ten rounds of one are a chain of products longer than what a processor looks ahead: where N
// are computed at once, one goes on while the others wait.
template <int N>
inline void philox_blocks(const PhiloxKeys& keys, uint64_t block, uint32_t stream, uint32_t step, Philox (&out)[N]) {
  if (static_cast<uint32_t>(block) > 0u - static_cast<uint32_t>(N * VW)) {
    for (int n = 0; n < N; ++n) out[n] = philox_lanes(keys, block + n * VW, stream, step);
    return;
  }
  vu lanes;
  for (int i = 0; i < VW; ++i) lanes[i] = lane_order(i);
  // The counter's other words are the same in every lane, and so is half of what the first two rounds compute.
  const vq high = vq{} + (block >> 32);
  const vq stream1 = multiply_low(vq{} + stream, kPhilox1), x2 = (vq{} + step) ^ keys.k[0][1];
  const vq same = multiply_low((stream1 >> 32) ^ high ^ keys.k[0][0], kPhilox0), high1 = (same >> 32) ^ keys.k[1][1];
  // Every other lane for itself, in the low half of 64 bits: a product then lies where the next round wants its two halves. What the
  // high halves hold is never read.
  vq c[2 * N][4];
  for (int n = 0; n < N; ++n) {
    const vu first = static_cast<uint32_t>(block) + static_cast<uint32_t>(n * VW) - vu{} + lanes;
    for (int odd = 0; odd < 2; ++odd) {
      const vq p0 = multiply_low((vq)first >> (32 * odd), kPhilox0), p1 = multiply_low((p0 >> 32) ^ x2, kPhilox1);
      vq(&x)[4] = c[2 * n + odd];
      x[0] = (p1 >> 32) ^ stream1 ^ keys.k[1][0];
      x[1] = p1;
      x[2] = high1 ^ p0;
      x[3] = same;
    }
  }
#pragma GCC unroll 8
  for (int round = 2; round < 10; ++round) {
    for (auto& x : c) {
      const vq p0 = multiply_low(x[0], kPhilox0), p1 = multiply_low(x[2], kPhilox1);
      x[0] = (p1 >> 32) ^ x[1] ^ keys.k[round][0];
      x[2] = (p0 >> 32) ^ x[3] ^ keys.k[round][1];
      x[1] = p1;
      x[3] = p0;
    }
  }
  for (int n = 0; n < N; ++n)
    for (int w = 0; w < 4; ++w) out[n].x[w] = low_halves(c[2 * n][w], c[2 * n + 1][w]);
}

inline Philox philox_blocks(const PhiloxKeys& keys, uint64_t block, uint32_t stream, uint32_t step) {
  Philox one[1];
  philox_blocks(keys, block, stream, step, one);
  return one[0];
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
