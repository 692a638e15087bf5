// Random arrays, the CPU's own bits (native/cpu/random.cc): element i takes word i % 4 of Philox block i / 4 (step 0); normal numbers come
// in pairs, elements 4k and 4k + 1 from words 0 and 1, 4k + 2 and 4k + 3 from words 2 and 3, by Box and Muller. Nothing here is fused and
// nothing comes from a library: sums and products are rounded one by one, as on the CPU.
#include "common/dense.cuh"
#include "kernels.h"

namespace heddle::cuda {
namespace {

constexpr int kBlock = 256;

__device__ inline float times(float a, float b) { return __fmul_rn(a, b); }
__device__ inline float plus(float a, float b) { return __fadd_rn(a, b); }
__device__ inline float then(float p, float x, float c) { return plus(times(p, x), c); }  // p x + c in two roundings

// Natural logarithm of x in [2^-32, 1]: x = 2^k (1 + f), 1 + f in [sqrt(1/2), sqrt(2)); log(1 + f) = f - f^2/2 + f^3 P(f).
__device__ inline float logarithm(float x) {
  const int32_t bits = __float_as_int(x), k = (bits - 0x3f3504f3) >> 23;
  const float f = plus(__int_as_float(bits - k * (1 << 23)), -1.0f), n = static_cast<float>(k);
  float p = -0.07634673f;
  p = then(p, f, 0.12761979f);
  p = then(p, f, -0.1316031f);
  p = then(p, f, 0.14201716f);
  p = then(p, f, -0.1662334f);
  p = then(p, f, 0.20001228f);
  p = then(p, f, -0.25000823f);
  p = then(p, f, 0.3333333f);
  const float square = times(f, f);
  float y = plus(times(times(p, f), square), times(n, -2.12194440e-4f));  // ln2 in two parts, the first exact in 9 bits
  y = plus(y, -times(square, 0.5f));
  return plus(plus(f, y), times(n, 0.693359375f));
}

// Two independent standard normal numbers: sqrt(-2 ln u) times cosine and sine. u = (radius >> 1 + 1/2) / 2^31 is never 0, so that
// numbers reach 6.6; the angle is 2 pi angle / 2^32.
__device__ inline void box_muller(uint32_t radius, uint32_t angle, float& cosine, float& sine) {
  const float u = times(plus(static_cast<float>(static_cast<int32_t>(radius >> 1)), 0.5f), 0x1p-31f);
  const float r = sqrtf(times(-2.0f, logarithm(u)));
  // The nearest quarter turn, and the rest t in [-1/2, 1/2) of one: sin and cos of t pi/2 by polynomials to 4e-9 and 7e-11.
  const uint32_t quarter = (angle + 0x20000000u) >> 30;
  const float t = times(static_cast<float>(static_cast<int32_t>(angle - (quarter << 30))), 0x1p-30f), t2 = times(t, t);
  float s = -0.0046016397f;
  s = then(s, t2, 0.079680026f);
  s = then(s, t2, -0.64596343f);
  s = times(then(s, t2, 1.5707964f), t);
  float c = 0.00090376445f;
  c = then(c, t2, -0.020860163f);
  c = then(c, t2, 0.25366923f);
  c = then(c, t2, -1.2337005f);
  c = then(c, t2, 1.0f);
  const bool odd = quarter & 1;
  const float x = odd ? s : c, y = odd ? c : s;
  cosine = times(r, (quarter + 1) & 2 ? -x : x);
  sine = times(r, quarter & 2 ? -y : y);
}

__global__ void __launch_bounds__(kBlock)
    random_kernel(Dense d, float* out, bool normal, float shift, float scale, uint32_t seed_low, uint32_t seed_high, uint32_t stream) {
  const DensePlace p = dense_place<4, kBlock>(d);
  if (!p.inside) return;
  const Random4 bits = philox(seed_low, seed_high, static_cast<uint64_t>(p.at / 4), stream, 0);
  Vector<float, 4> v;
  if (normal) {
    box_muller(bits.x[0], bits.x[1], v.x[0], v.x[1]);
    box_muller(bits.x[2], bits.x[3], v.x[2], v.x[3]);
  } else {
#pragma unroll
    for (int w = 0; w < 4; ++w) v.x[w] = uniform_of(bits.x[w]);
  }
#pragma unroll
  for (int w = 0; w < 4; ++w) v.x[w] = then(v.x[w], scale, shift);
  if (p.vector) {
    store_vector(out + p.at, v);
  } else {
    const int w = static_cast<int>(p.at % 4);
    out[p.at] = w == 0 ? v.x[0] : w == 1 ? v.x[1] : w == 2 ? v.x[2] : v.x[3];
  }
}

}  // namespace

void random(const RandomArgs& a) {
  if (a.n == 0) return;
  const bool normal = a.distribution == Distribution::normal;
  const Dense d(a.n, 4, aligned16(a.out));
  launch("random", random_kernel, blocks_for(d.items, kBlock), kBlock, 0, d, a.out, normal, a.a, normal ? a.b : a.b - a.a, a.seed_low,
         a.seed_high, a.stream);
}

}  // namespace heddle::cuda
