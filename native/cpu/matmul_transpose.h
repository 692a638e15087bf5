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

// Group g, four floats, comes from rows[4 g] + at. Inserting from memory leaves the port free that shuffles need.
inline vf load_quads(const float* const* rows, int64_t at) {
#if defined(__AVX512F__)
  __m512 v = _mm512_castps128_ps512(_mm_loadu_ps(rows[0] + at));
  v = _mm512_insertf32x4(v, _mm_loadu_ps(rows[4] + at), 1);
  v = _mm512_insertf32x4(v, _mm_loadu_ps(rows[8] + at), 2);
  return (vf)(_mm512_insertf32x4(v, _mm_loadu_ps(rows[12] + at), 3));
#elif defined(__AVX2__)
  return (vf)(_mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(rows[0] + at)), _mm_loadu_ps(rows[4] + at), 1));
#else
  return load(rows[0] + at);
#endif
}

// Elements at to at + 3 of VW rows: column[q] holds element at + q of every row.
[[gnu::always_inline]] inline void transpose_rows(const float* const* rows, int64_t at, vf column[4]) {
  transpose_quads(load_quads(rows, at), load_quads(rows + 1, at), load_quads(rows + 2, at), load_quads(rows + 3, at), column);
}

// VW rows of VW floats, from rows[..] + at: column[q] holds element q of every row.
inline void transpose_square(const float* const rows[VW], int64_t at, vf column[VW]) {
#pragma GCC unroll 4
  for (int q = 0; q < VW; q += 4) transpose_rows(rows, at + q, column + q);
}

}  // namespace
}  // namespace heddle::cpu::HEDDLE_ISA
