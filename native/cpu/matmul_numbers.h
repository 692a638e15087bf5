#pragma once
// What the numbers of a product are multiplied as. A packed panel holds for every step of k and every lane four bytes: a float, or two
// neighbours in k as bf16.
#include "cpu/vec.h"

namespace heddle::cpu::HEDDLE_ISA {
namespace {

struct F32 {
  static constexpr int kDepth = 1;  // of k in a step
  static int64_t steps(int64_t k) { return k; }
  static vf multiply_add(vf a, vf b, vf c) { return fma(a, b, c); }
};

#if defined(__AVX512BF16__)
// Rounded to nearest, ties to even; subnormal numbers count as zero (Intel's manual on VDPBF16PS).
struct BF16 {
  static constexpr int kDepth = 2;
#if defined(__AMX_BF16__)
  static int64_t steps(int64_t k) { return (k + 31) / 32 * 16; }  // whole tiles: zeros behind the last of k
#else
  static int64_t steps(int64_t k) { return (k + 1) / 2; }
#endif
  static vf multiply_add(vf a, vf b, vf c) { return (vf)(_mm512_dpbf16_ps(c, (__m512bh)a, (__m512bh)b)); }
};

// Lane by lane the pair (even, odd).
inline vf pairs(vf even, vf odd) {
  const __m512i low = _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh(even)),
                high = _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh(odd));
  return (vf)(_mm512_or_si512(low, _mm512_slli_epi32(high, 16)));
}
// Neighbours: 32 floats as 16 pairs.
inline vf neighbours(vf first, vf second) { return (vf)(_mm512_cvtne2ps_pbh(second, first)); }
#endif

}  // namespace
}  // namespace heddle::cpu::HEDDLE_ISA
