#pragma once
// Loops over the elements of a row, and sums over a row in 32 partial sums: element i goes to partial i % 32, so AVX2 and
// AVX-512 give the same bits, and enough additions are under way to hide their latency. Only for files compiled per
// instruction set (kernels.h).
#include "cpu/vec.h"

namespace heddle::cpu::HEDDLE_ISA {
namespace {

constexpr int kPartials = 32;
constexpr int NV = kPartials / VW;  // vectors that hold the partials

// A row kernel: everything it calls is inlined, so that partial sums stay in registers.
#define HEDDLE_ROW_KERNEL __attribute__((flatten))

// The first n lanes, n <= VW; zero behind them. With the constant n = VW these are plain loads and stores.
inline vf load_n(const float* p, int n) { return n == VW ? load(p) : load_part(p, n); }
inline void store_n(float* p, vf v, int n) {
  if (n == VW)
    store(p, v);
  else
    store_part(p, v, n);
}
// v in the first n lanes, `other` behind them.
inline vf first_n(vf v, int n, vf other = vf{}) {
  if (n == VW) return v;
  return select(lane_numbers() < n, v, other);
}

// f(i, n) for vectors of n elements from i on: n = VW (a constant) but for the last.
template <class F>
inline void each_vector(int64_t size, F&& f) {
  int64_t i = 0;
  for (; i + VW <= size; i += VW) f(i, VW);
  if (i < size) f(i, static_cast<int>(size - i));
}

// f(i, j, n): the same, and the vector's lanes belong to the partials from j * VW on.
template <class F>
inline void each_partial(int64_t size, F&& f) {
  int64_t i = 0;
  for (; i + kPartials <= size; i += kPartials) {
#pragma GCC unroll 8
    for (int j = 0; j < NV; ++j) f(i + j * VW, j, VW);
  }
#pragma GCC unroll 8
  for (int j = 0; j < NV; ++j) {
    const int64_t left = size - i - j * VW;
    if (left > 0) f(i + j * VW, j, left < VW ? static_cast<int>(left) : VW);
  }
}

inline double lane_total(const float* s) {
  double d[kPartials / 2];
  for (int i = 0; i < kPartials / 2; ++i) d[i] = static_cast<double>(s[i]) + static_cast<double>(s[i + kPartials / 2]);
  for (int w = kPartials / 4; w; w /= 2)
    for (int i = 0; i < w; ++i) d[i] = d[i] + d[i + w];
  return d[0];
}

struct Partials {
  vf part[NV] = {};

  void add(int j, vf v) { part[j] = part[j] + v; }
  void add_product(int j, vf a, vf b) { part[j] = fma(a, b, part[j]); }

  // Pairwise, (i, i + 16), (i, i + 8), ..., in f32.
  float total() const {
    vf v[NV];
    for (int j = 0; j < NV; ++j) v[j] = part[j];
    for (int w = NV / 2; w; w /= 2)
      for (int j = 0; j < w; ++j) v[j] = v[j] + v[j + w];
    return lane_sum(v[0]);
  }
  // The same order in double: adding the partials rounds nothing away.
  double total_double() const {
    alignas(64) float s[kPartials];
    for (int j = 0; j < NV; ++j) store(s + j * VW, part[j]);
    return lane_total(s);
  }
};

// The sum of f(i, n), a vector of n elements from i on with zeros behind them. In f32 over blocks, whose totals are added in
// double: long rows lose nothing.
template <class F>
inline double sum_of(int64_t size, F&& f) {
  constexpr int64_t block = 4096;
  double total = 0;
  for (int64_t low = 0; low < size; low += block) {
    Partials sum;
    each_partial(low + block < size ? block : size - low, [&](int64_t i, int j, int n) { sum.add(j, f(low + i, n)); });
    total += sum.total_double();
  }
  return total;
}

inline float lane_max(vf v) {  // of lanes without NaN
#if defined(__x86_64__)
#if defined(__AVX512F__)
  const __m256 v8 = _mm256_max_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1));
#elif defined(__AVX2__)
  const __m256 v8 = v;
#endif
#if defined(__AVX2__)
  const __m128 v4 = _mm_max_ps(_mm256_castps256_ps128(v8), _mm256_extractf128_ps(v8, 1));
#else
  const __m128 v4 = v;
#endif
  const __m128 v2 = _mm_max_ps(v4, _mm_movehl_ps(v4, v4));
  return v2[0] > v2[1] ? v2[0] : v2[1];
#else
  const float a = v[0] > v[2] ? v[0] : v[2], b = v[1] > v[3] ? v[1] : v[3];
  return a > b ? a : b;
#endif
}

// The greatest element, NaN ignored; -inf when there is none.
HEDDLE_ROW_KERNEL inline float row_max(const float* x, int64_t size) {
  const vf none = splat(-__builtin_inff());
  vf best[NV];
  for (int j = 0; j < NV; ++j) best[j] = none;
  each_partial(size, [&](int64_t i, int j, int n) { best[j] = vmax(first_n(load_n(x + i, n), n, none), best[j]); });
  for (int w = NV / 2; w; w /= 2)
    for (int j = 0; j < w; ++j) best[j] = vmax(best[j], best[j + w]);
  return lane_max(best[0]);
}

// Rows per item of a kernel that treats rows alone: about 64 KiB, a quarter of it where every element costs an exponential
// (cols * kExpCost).
constexpr int64_t kExpCost = 4;
inline int64_t rows_per_item(int64_t cols) { return cols >= 16384 ? 1 : cols > 0 ? 16384 / cols : 16384; }

}  // namespace
}  // namespace heddle::cpu::HEDDLE_ISA
