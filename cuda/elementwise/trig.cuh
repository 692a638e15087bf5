#pragma once
// Sine and cosine within 3 ulp for every f32, without the local memory that the CUDA library's reduction of large arguments takes.
#include <cuda_runtime.h>

#include <cstdint>

namespace heddle::cuda {

// The bits of 2/pi behind the point, after 32 zeros.
__constant__ constexpr uint32_t kTwoOverPi[8] = {0,           0xa2f9836eu, 0x4e441529u, 0xfc2757d1u,
                                                 0xf534ddc0u, 0xdb629599u, 0x3c439041u, 0xfe5163abu};

// |x| = (4 k + quarter + t) pi/2 with t in [-1/2, 1/2].
struct QuarterTurns {
  uint32_t quarter;
  float t;
};

// |x| is m 2^e with a 24-bit m. Bits of 2/pi of weight above 2^(1-e) make multiples of 4 quarter turns: the 96 bits behind them
// give the product mod 4 to 2^-70 (Payne and Hanek, "Radian Reduction for Trigonometric Functions", 1983).
__device__ inline QuarterTurns quarter_turns(float x) {
  const uint32_t bits = __float_as_uint(x) & 0x7fffffffu;
  if (bits < 0x3f490fdbu) return {0, __uint_as_float(bits) * 0.63661977f};        // below pi/4
  const uint32_t m = (bits & 0x7fffffu) | 0x800000u, first = (bits >> 23) - 120;  // e + 30
  const uint32_t* words = kTwoOverPi + (first >> 5 & 7);
  const uint32_t w0 = words[0], w1 = words[1], w2 = words[2], w3 = words[3];
  const uint64_t low = uint64_t{m} * __funnelshift_l(w3, w2, first);
  const uint64_t middle = uint64_t{m} * __funnelshift_l(w2, w1, first) + (low >> 32);
  const uint32_t high = m * __funnelshift_l(w1, w0, first) + static_cast<uint32_t>(middle >> 32);
  const uint64_t turns = uint64_t{high} << 32 | static_cast<uint32_t>(middle);  // 2 bits of quarters, 62 behind the point
  const uint64_t quarter = (turns + (uint64_t{1} << 61)) >> 62;
  return {static_cast<uint32_t>(quarter), static_cast<float>(static_cast<int64_t>(turns - (quarter << 62))) * 0x1p-62f};
}

// sin and cos of t pi/2, to 4e-9 and 7e-11
__device__ inline float quarter_sine(float t) {
  const float t2 = t * t;
  return fmaf(fmaf(fmaf(-0.0046016397f, t2, 0.079680026f), t2, -0.64596343f), t2, 1.5707964f) * t;
}
__device__ inline float quarter_cosine(float t) {
  const float t2 = t * t;
  return fmaf(fmaf(fmaf(fmaf(0.00090376445f, t2, -0.020860163f), t2, 0.25366923f), t2, -1.2337005f), t2, 1.0f);
}

__device__ inline float cosine(float x) {
  if (!(fabsf(x) <= 3.4028235e38f)) return x - x;  // inf and NaN: NaN
  const QuarterTurns q = quarter_turns(x);
  const float y = q.quarter & 1 ? quarter_sine(q.t) : quarter_cosine(q.t);
  return (q.quarter + 1) & 2 ? -y : y;
}
__device__ inline float sine(float x) {
  if (!(fabsf(x) <= 3.4028235e38f)) return x - x;
  const QuarterTurns q = quarter_turns(x);
  const float y = q.quarter & 1 ? quarter_cosine(q.t) : quarter_sine(q.t);
  return ((q.quarter & 2) != 0) != signbit(x) ? -y : y;
}

}  // namespace heddle::cuda
