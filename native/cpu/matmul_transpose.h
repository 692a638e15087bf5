#pragma once
// Transposes in registers, for operands whose k is contiguous (x W^T, the most frequent layout).
#include "cpu/vec.h"

namespace heddle::cpu::HEDDLE_ISA {
namespace {

// Four rows a, b, c, d become columns within every group of four lanes: group g of out[j] is (a, b, c, d)[4g + j].
inline void transpose_quads(vf a, vf b, vf c, vf d, vf out[4]) {
#if defined(__AVX512F__)
  const __m512 ab_low = _mm512_unpacklo_ps(a, b), ab_high = _mm512_unpackhi_ps(a, b);
  const __m512 cd_low = _mm512_unpacklo_ps(c, d), cd_high = _mm512_unpackhi_ps(c, d);
  out[0] = (vf)(_mm512_shuffle_ps(ab_low, cd_low, 0x44));
  out[1] = (vf)(_mm512_shuffle_ps(ab_low, cd_low, 0xee));
  out[2] = (vf)(_mm512_shuffle_ps(ab_high, cd_high, 0x44));
  out[3] = (vf)(_mm512_shuffle_ps(ab_high, cd_high, 0xee));
#elif defined(__AVX2__)
  const __m256 ab_low = _mm256_unpacklo_ps(a, b), ab_high = _mm256_unpackhi_ps(a, b);
  const __m256 cd_low = _mm256_unpacklo_ps(c, d), cd_high = _mm256_unpackhi_ps(c, d);
  out[0] = (vf)(_mm256_shuffle_ps(ab_low, cd_low, 0x44));
  out[1] = (vf)(_mm256_shuffle_ps(ab_low, cd_low, 0xee));
  out[2] = (vf)(_mm256_shuffle_ps(ab_high, cd_high, 0x44));
  out[3] = (vf)(_mm256_shuffle_ps(ab_high, cd_high, 0xee));
#elif defined(__x86_64__)
  __m128 r0 = a, r1 = b, r2 = c, r3 = d;
  _MM_TRANSPOSE4_PS(r0, r1, r2, r3);
  out[0] = (vf)r0, out[1] = (vf)r1, out[2] = (vf)r2, out[3] = (vf)r3;
#else
  for (int j = 0; j < 4; ++j) out[j] = vf{a[j], b[j], c[j], d[j]};
#endif
}

// The groups of v, four floats each, to dst, dst + step, ...
inline void store_groups(float* dst, int64_t step, vf v) {
#if defined(__AVX512F__)
  _mm_storeu_ps(dst, _mm512_castps512_ps128(v));
  _mm_storeu_ps(dst + step, _mm512_extractf32x4_ps(v, 1));
  _mm_storeu_ps(dst + 2 * step, _mm512_extractf32x4_ps(v, 2));
  _mm_storeu_ps(dst + 3 * step, _mm512_extractf32x4_ps(v, 3));
#elif defined(__AVX2__)
  _mm_storeu_ps(dst, _mm256_castps256_ps128(v));
  _mm_storeu_ps(dst + step, _mm256_extractf128_ps(v, 1));
#else
  (void)step;
  store(dst, v);
#endif
}

// VW rows of VW floats, from rows[..] + at: column[q] holds element q of every row.
inline void transpose_square(const float* const rows[VW], int64_t at, vf column[VW]) {
  vf quad[VW / 4][4];
#pragma GCC unroll 4
  for (int g = 0; g < VW; g += 4)
    transpose_quads(load(rows[g] + at), load(rows[g + 1] + at), load(rows[g + 2] + at), load(rows[g + 3] + at), quad[g / 4]);
#pragma GCC unroll 4
  for (int j = 0; j < 4; ++j) {  // the groups of quad[..][j] are a square matrix to be transposed
#if defined(__AVX512F__)
    const __m512 low01 = _mm512_shuffle_f32x4(quad[0][j], quad[1][j], 0x44), high01 = _mm512_shuffle_f32x4(quad[0][j], quad[1][j], 0xee);
    const __m512 low23 = _mm512_shuffle_f32x4(quad[2][j], quad[3][j], 0x44), high23 = _mm512_shuffle_f32x4(quad[2][j], quad[3][j], 0xee);
    column[j] = (vf)(_mm512_shuffle_f32x4(low01, low23, 0x88));
    column[4 + j] = (vf)(_mm512_shuffle_f32x4(low01, low23, 0xdd));
    column[8 + j] = (vf)(_mm512_shuffle_f32x4(high01, high23, 0x88));
    column[12 + j] = (vf)(_mm512_shuffle_f32x4(high01, high23, 0xdd));
#elif defined(__AVX2__)
    column[j] = (vf)(_mm256_permute2f128_ps(quad[0][j], quad[1][j], 0x20));
    column[4 + j] = (vf)(_mm256_permute2f128_ps(quad[0][j], quad[1][j], 0x31));
#else
    column[j] = quad[0][j];
#endif
  }
}

}  // namespace
}  // namespace heddle::cpu::HEDDLE_ISA
