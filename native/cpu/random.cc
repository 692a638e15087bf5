// Random arrays. Element i takes word i % 4 of Philox block i / 4 (step 0); normal numbers come in pairs, elements 4k and 4k + 1
// from words 0 and 1, 4k + 2 and 4k + 3 from words 2 and 3, by Box and Muller: sqrt(-2 ln u) times cosine and sine.
// Nothing here is fused and nothing comes from libm: every instruction set and machine draws the same bits.
#include "cpu/kernels.h"
#include "cpu/philox.h"
#include "cpu/vecmath.h"

namespace heddle::cpu::HEDDLE_ISA {
namespace {

inline vf to_float(vu below_2_31) { return __builtin_convertvector((vi)below_2_31, vf); }

// (radius, angle) becomes two independent standard normal numbers. u = (radius >> 1 + 1/2) / 2^31 is never 0, so that numbers
// reach 6.6; the angle is 2 pi angle / 2^32.
inline void box_muller(vu radius, vu angle, vf& cosine, vf& sine) {
  const vf u = (to_float(radius >> 1) + splat(0.5f)) * splat(0x1p-31f);
  const vf r = sqrt(splat(-2.0f) * log(u));
  // The nearest quarter turn, and the rest t in [-1/2, 1/2) of one: sin and cos of t pi/2 by polynomials to 4e-9 and 7e-11.
  const vu quarter = (angle + 0x20000000u) >> 30;
  const vf t = __builtin_convertvector((vi)(angle - (quarter << 30)), vf) * splat(0x1p-30f);
  const vf t2 = t * t;
  vf s = splat(-0.0046016397f);
  s = s * t2 + splat(0.079680026f);
  s = s * t2 + splat(-0.64596343f);
  s = (s * t2 + splat(1.5707964f)) * t;
  vf c = splat(0.00090376445f);
  c = c * t2 + splat(-0.020860163f);
  c = c * t2 + splat(0.25366923f);
  c = c * t2 + splat(-1.2337005f);
  c = c * t2 + splat(1.0f);
  const vi odd = -(vi)(quarter & 1u);
  const vu cosine_sign = ((quarter + 1u) & 2u) << 30, sine_sign = (quarter & 2u) << 30;
  cosine = r * bits_to_float(float_to_bits(select(odd, s, c)) ^ (vi)cosine_sign);
  sine = r * bits_to_float(float_to_bits(select(odd, c, s)) ^ (vi)sine_sign);
}

}  // namespace

void random(const RandomArgs& a) {
  constexpr int64_t kStep = 4 * VW;
  const PhiloxKeys keys(a.seed_low, a.seed_high);
  const bool normal = a.distribution == Distribution::normal;
  const vf shift = splat(a.a), scale = splat(normal ? a.b : a.b - a.a);
  parallel_range(a.n, 8192, [&](int64_t low, int64_t high) {
    for (int64_t i = low; i < high; i += kStep) {
      Philox bits = philox_blocks(keys, static_cast<uint64_t>(i) / 4, a.stream, 0);
      vf y[4];
      if (normal) {
        box_muller(bits.x[0], bits.x[1], y[0], y[1]);
        box_muller(bits.x[2], bits.x[3], y[2], y[3]);
      } else {
        for (int w = 0; w < 4; ++w) y[w] = to_float(bits.x[w] >> 8) * splat(0x1p-24f);
      }
      interleave(y);
      for (int w = 0; w < 4; ++w) {
        const int64_t at = i + w * VW;
        const vf value = y[w] * scale + shift;
        if (at + VW <= high)
          store(a.out + at, value);
        else if (at < high)
          store_part(a.out + at, value, static_cast<int>(high - at));
      }
    }
  });
}

}  // namespace heddle::cpu::HEDDLE_ISA
