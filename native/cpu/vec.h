#pragma once
// One vector of f32 as wide as the instruction set: 16 (AVX-512), 8 (AVX2) or 4 (SSE, NEON) lanes, in GCC/clang vector
// extensions: +, -, *, / and comparisons are the language's. Only for files compiled per instruction set (kernels.h).
//
// fma() is fused where the instruction set has it (AVX2, AVX-512, NEON) and multiply-then-add on x86-64-v2; nothing else is
// ever fused (-ffp-contract=off). Sums over an array use 16 fixed partial sums (see Sum16), whatever the width, so that
// AVX2 and AVX-512 give the same bits.
#include <cstdint>

#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__ARM_NEON)
#include <arm_neon.h>
#endif

namespace heddle::cpu::HEDDLE_ISA {
namespace {

#if defined(__AVX512F__)
constexpr int VW = 16;
#elif defined(__AVX2__)
constexpr int VW = 8;
#else
constexpr int VW = 4;
#endif

typedef float vf __attribute__((vector_size(VW * 4)));
typedef int32_t vi __attribute__((vector_size(VW * 4)));
typedef float vfu __attribute__((vector_size(VW * 4), aligned(4), may_alias));
typedef int32_t viu __attribute__((vector_size(VW * 4), aligned(4), may_alias));

inline vf load(const float* p) { return *reinterpret_cast<const vfu*>(p); }
inline void store(float* p, vf v) { *reinterpret_cast<vfu*>(p) = v; }
inline vf splat(float x) { return x - vf{}; }
inline vf bits_to_float(vi v) { return (vf)v; }  // a cast between vectors of one size keeps the bits
inline vi float_to_bits(vf v) { return (vi)v; }
inline vf select(vi mask, vf a, vf b) { return mask ? a : b; }  // lane-wise: mask lane != 0 ? a : b
inline vf vmin(vf a, vf b) { return select(a < b, a, b); }      // b where either is NaN
inline vf vmax(vf a, vf b) { return select(a > b, a, b); }
inline vf vabs(vf a) { return bits_to_float(float_to_bits(a) & 0x7fffffff); }

inline vf fma(vf a, vf b, vf c) {
#if defined(__AVX512F__)
  return (vf)(_mm512_fmadd_ps(a, b, c));
#elif defined(__FMA__)
  return (vf)(_mm256_fmadd_ps(a, b, c));
#elif defined(__ARM_NEON)
  return vfmaq_f32(c, a, b);
#else
  return a * b + c;
#endif
}

inline float fma(float a, float b, float c) {
#if defined(__FMA__) || defined(__ARM_NEON)
  return __builtin_fmaf(a, b, c);
#else
  return a * b + c;
#endif
}

// The first n < VW lanes, zero behind them.
inline vf load_part(const float* p, int n) {
  vf v{};
  __builtin_memcpy(&v, p, static_cast<unsigned>(n) * 4u);
  return v;
}
inline void store_part(float* p, vf v, int n) { __builtin_memcpy(p, &v, static_cast<unsigned>(n) * 4u); }

// e^x within 2 ulp, denormal results included; 0 below, inf above, NaN stays. x = n ln2 + r, |r| <= ln2/2; the Taylor
// series to r^7 leaves 5e-9; 2^n in two factors reaches denormals and infinity.
inline vf exp(vf x) {
  x = vmin(splat(89.0f), vmax(splat(-104.0f), x));
  const vf magic = splat(12582912.0f);  // 1.5 * 2^23: adding it rounds to an integer in the low bits
  const vf shifted = fma(x, splat(1.44269504f), magic);
  const vf n = shifted - magic;
  vf r = fma(n, splat(-0.693359375f), x);  // ln2 in two parts, the first exact in 9 bits
  r = fma(n, splat(2.12194440e-4f), r);
  vf p = splat(1.0f / 5040);
  p = fma(p, r, splat(1.0f / 720));
  p = fma(p, r, splat(1.0f / 120));
  p = fma(p, r, splat(1.0f / 24));
  p = fma(p, r, splat(1.0f / 6));
  p = fma(p, r, splat(0.5f));
  p = fma(p, r, splat(1.0f));
  p = fma(p, r, splat(1.0f));
  const vi k = float_to_bits(shifted) - float_to_bits(magic);
  const vi half = k >> 1;
  return p * bits_to_float((half + 127) << 23) * bits_to_float((k - half + 127) << 23);
}

// A sum in 16 partial sums: element i goes to partial i % 16, and the partials are added pairwise (i, i + 8), (i, i + 4), ...
struct Sum16 {
  static constexpr int N = 16 / VW;
  vf part[N] = {};
  void add(int j, vf v) { part[j] = part[j] + v; }
  float total() const {
    alignas(64) float s[16];
    for (int j = 0; j < N; ++j) store(s + j * VW, part[j]);
    for (int w = 8; w; w /= 2)
      for (int i = 0; i < w; ++i) s[i] = s[i] + s[i + w];
    return s[0];
  }
};

}  // namespace
}  // namespace heddle::cpu::HEDDLE_ISA
