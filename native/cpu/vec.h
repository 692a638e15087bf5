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
inline vf vmin(vf a, vf b) {                                    // b where either is NaN, as the x86 instruction has it
#if defined(__AVX512F__)
  return (vf)(_mm512_min_ps(a, b));
#elif defined(__AVX2__)
  return (vf)(_mm256_min_ps(a, b));
#elif defined(__x86_64__)
  return (vf)(_mm_min_ps(a, b));
#else
  return select(a < b, a, b);
#endif
}
inline vf vmax(vf a, vf b) {
#if defined(__AVX512F__)
  return (vf)(_mm512_max_ps(a, b));
#elif defined(__AVX2__)
  return (vf)(_mm256_max_ps(a, b));
#elif defined(__x86_64__)
  return (vf)(_mm_max_ps(a, b));
#else
  return select(a > b, a, b);
#endif
}
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

inline vi lane_numbers() {
  vi v;
  for (int i = 0; i < VW; ++i) v[i] = i;
  return v;
}

// The first n <= VW lanes, zero behind them; nothing behind them is touched.
inline vf load_part(const float* p, int n) {
#if defined(__AVX512F__)
  return (vf)(_mm512_maskz_loadu_ps(static_cast<__mmask16>((1u << n) - 1), p));
#elif defined(__AVX2__)
  return (vf)(_mm256_maskload_ps(p, (__m256i)(lane_numbers() < n)));
#else
  vf v{};
  for (int i = 0; i < VW; ++i)
    if (i < n) v[i] = p[i];
  return v;
#endif
}
inline void store_part(float* p, vf v, int n) {
#if defined(__AVX512F__)
  _mm512_mask_storeu_ps(p, static_cast<__mmask16>((1u << n) - 1), v);
#elif defined(__AVX2__)
  _mm256_maskstore_ps(p, (__m256i)(lane_numbers() < n), v);
#else
  for (int i = 0; i < VW; ++i)
    if (i < n) p[i] = v[i];
#endif
}

// x = n ln2 + r with |r| <= ln2/2, and e^r. `shifted` holds n in its low bits.
struct ExpParts {
  vf power, n, shifted;
};
constexpr float kExpMagic = 12582912.0f;  // 1.5 * 2^23: adding it rounds to an integer in the low bits

inline ExpParts exp_parts(vf x) {
  const vf magic = splat(kExpMagic);
  const vf shifted = fma(x, splat(1.44269504f), magic);
  const vf n = shifted - magic;
  vf r = fma(n, splat(-0.693359375f), x);  // ln2 in two parts, the first exact in 9 bits
  r = fma(n, splat(2.12194440e-4f), r);
  vf p = splat(1.38145988e-3f);  // e^r for |r| <= ln2/2, 1 + r kept: relative error 3e-9, where the Taylor series to r^7 leaves 5e-9
  p = fma(p, r, splat(8.36871658e-3f));
  p = fma(p, r, splat(4.16683890e-2f));
  p = fma(p, r, splat(1.66665211e-1f));
  p = fma(p, r, splat(0.49999994f));
  p = fma(p, r, splat(1.0f));
  p = fma(p, r, splat(1.0f));
  return {p, n, shifted};
}

// e^x of x <= 0 within 2 ulp, denormal results included; 0 below, NaN stays. 2^n in two factors reaches denormals.
inline vf exp_negative(vf x) {
  const ExpParts e = exp_parts(vmax(splat(-104.0f), x));
#if defined(__AVX512F__)
  return (vf)(_mm512_scalef_ps(e.power, e.n));  // the same bits: only the last product rounds there too
#else
  const vi k = float_to_bits(e.shifted) - float_to_bits(splat(kExpMagic));
  const vi half = k >> 1;
  return e.power * bits_to_float((half + 127) << 23) * bits_to_float((k - half + 127) << 23);
#endif
}

// The same for any x: inf above.
inline vf exp(vf x) { return exp_negative(vmin(splat(89.0f), x)); }

// The sum of the lanes, added pairwise: (i, i + 8), (i, i + 4), ...
inline float lane_sum(vf v) {
#if defined(__x86_64__)
#if defined(__AVX512F__)
  const __m256 v8 = _mm512_castps512_ps256(v) + _mm512_extractf32x8_ps(v, 1);
#elif defined(__AVX2__)
  const __m256 v8 = v;
#endif
#if defined(__AVX2__)
  const __m128 v4 = _mm256_castps256_ps128(v8) + _mm256_extractf128_ps(v8, 1);
#else
  const __m128 v4 = v;
#endif
  const __m128 v2 = v4 + _mm_movehl_ps(v4, v4);
  return v2[0] + v2[1];
#else
  return (v[0] + v[2]) + (v[1] + v[3]);
#endif
}

// A sum in 16 partial sums: element i goes to partial i % 16, and the partials are added pairwise (i, i + 8), (i, i + 4), ...
struct Sum16 {
  static constexpr int N = 16 / VW;
  vf part[N] = {};
  void add(int j, vf v) { part[j] = part[j] + v; }
  float total() const {
    vf v[N];
    for (int j = 0; j < N; ++j) v[j] = part[j];
    for (int w = N / 2; w; w /= 2)
      for (int j = 0; j < w; ++j) v[j] = v[j] + v[j + w];
    return lane_sum(v[0]);
  }
};

}  // namespace
}  // namespace heddle::cpu::HEDDLE_ISA
