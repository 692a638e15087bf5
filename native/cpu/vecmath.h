#pragma once
// Vector functions over vec.h: square root, logarithm, hyperbolic tangent, sigmoid, the activations and their derivatives.
// NaN in gives NaN out; nothing overflows on the way to a finite result.
//
// Polynomials: minimax in the relative error of the function, by iteratively reweighted least squares on Chebyshev points in
// double against 40-digit references, then rounded to f32. The error named beside each is that of the polynomial alone.
#include "cpu/vec.h"

namespace heddle::cpu::HEDDLE_ISA {
namespace {

inline vf sqrt(vf x) {  // correctly rounded
#if defined(__AVX512F__)
  return (vf)(_mm512_sqrt_ps(x));
#elif defined(__AVX2__)
  return (vf)(_mm256_sqrt_ps(x));
#elif defined(__x86_64__)
  return (vf)(_mm_sqrt_ps(x));
#else
  for (int i = 0; i < VW; ++i) x[i] = __builtin_sqrtf(x[i]);
  return x;
#endif
}

// Natural logarithm within 1 ulp; log(0) = -inf, log(negative) = NaN. x = 2^k (1 + f), 1 + f in [sqrt(1/2), sqrt(2));
// log(1 + f) = f - f^2/2 + f^3 P(f), P to 6e-9. Products are not fused on purpose: every instruction set gives the same bits,
// so normal random numbers are the same on every machine.
inline vf log(vf x) {
  const vi tiny = x < splat(0x1p-126f);
  const vf scaled = select(tiny, x * splat(0x1p23f), x);
  const vi bits = float_to_bits(vabs(scaled));  // below 0 is sorted out at the end
  const vi sqrt_half = vi{} + 0x3f3504f3;
  const vi k = ((bits - sqrt_half) >> 23);
  const vf f = bits_to_float(bits - (k << 23)) - splat(1.0f);
  const vf n = __builtin_convertvector(k + (tiny & -23), vf);
  vf p = splat(-0.07634673f);
  p = p * f + splat(0.12761979f);
  p = p * f + splat(-0.1316031f);
  p = p * f + splat(0.14201716f);
  p = p * f + splat(-0.1662334f);
  p = p * f + splat(0.20001228f);
  p = p * f + splat(-0.25000823f);
  p = p * f + splat(0.3333333f);
  const vf square = f * f;
  vf y = p * f * square + n * splat(-2.12194440e-4f);  // ln2 in two parts, the first exact in 9 bits: n times it is exact
  y = y - square * splat(0.5f);
  y = (f + y) + n * splat(0.693359375f);
  const vf inf = splat(__builtin_inff());
  y = select(x < inf, y, x);  // inf and NaN
  y = select(x == vf{}, -inf, y);
  return select(x < vf{}, splat(__builtin_nanf("")), y);
}

// 1 / (1 + e^-x)
inline vf sigmoid(vf x) { return splat(1.0f) / (splat(1.0f) + exp(-x)); }

// sigmoid(x) * (1 - sigmoid(x)), without cancellation: e^-|x| / (1 + e^-|x|)^2
inline vf sigmoid_derivative(vf x) {
  const vf e = exp(-vabs(x));
  const vf s = splat(1.0f) / (splat(1.0f) + e);
  return e * s * s;
}

// Within 2 ulp, near 0 too. Below 0.6: x + x^3 P(x^2), to 5e-9; above: (1 - e^-2|x|) / (1 + e^-2|x|) with the sign of x.
inline vf tanh(vf x) {
  const vf a = vabs(x);
  const vf e = exp(splat(-2.0f) * a);
  const vf far = (splat(1.0f) - e) / (splat(1.0f) + e);
  const vf signed_far = bits_to_float(float_to_bits(far) | (float_to_bits(x) & static_cast<int32_t>(0x80000000)));
  const vf y = x * x;
  vf p = splat(-0.0057049566f);
  p = fma(p, y, splat(0.020639062f));
  p = fma(p, y, splat(-0.053739708f));
  p = fma(p, y, splat(0.13331442f));
  p = fma(p, y, splat(-0.3333328f));
  return select(a < splat(0.6f), fma(p * y, x, x), signed_far);
}

// 1 - tanh(x)^2 = 4 e^-2|x| / (1 + e^-2|x|)^2
inline vf tanh_derivative(vf x) { return splat(4.0f) * sigmoid_derivative(splat(2.0f) * x); }

// x * sigmoid(x)
inline vf silu(vf x) { return x / (splat(1.0f) + exp(-x)); }

// s (1 + x (1 - s)) with 1 - s = e^-x s; beyond +-87 it is 0 or 1 already, and e^-x still finite.
inline vf silu_derivative(vf x) {
  x = vmin(splat(87.0f), vmax(splat(-87.0f), x));
  const vf e = exp(-x);
  const vf s = splat(1.0f) / (splat(1.0f) + e);
  return fma(x * s, e * s, s);
}

// x/2 (1 + tanh(u)) with u = sqrt(2/pi) (x + 0.044715 x^3), which is x * sigmoid(2u): one exponential, no cancellation.
inline vf gelu_tanh(vf x) {
  const vf minus_2u = x * fma(x * x, splat(-0.07135481f), splat(-1.5957691f));
  return x / (splat(1.0f) + exp(minus_2u));
}

// s + x s (1 - s) (2u)', s = sigmoid(2u); 4 s (1 - s) is 1 - tanh(u)^2. Beyond +-10 it is 0 or 1 already, and e^-2u still finite.
inline vf gelu_tanh_derivative(vf x) {
  x = vmin(splat(10.0f), vmax(splat(-10.0f), x));
  const vf square = x * x;
  const vf e = exp(x * fma(square, splat(-0.07135481f), splat(-1.5957691f)));
  const vf s = splat(1.0f) / (splat(1.0f) + e);
  const vf slope = fma(square, splat(0.21406444f), splat(1.5957691f));  // (2u)'
  return fma(x * slope * s, e * s, s);
}

// The standard normal distribution: e^(-x^2/2) and, from it, P(X <= x). The tail beyond |x| is e^(-x^2/2) t P(t) with
// t = 1 / (1 + 0.3 |x|), to 4e-9 relative for |x| <= 14, where it is below the smallest f32: accurate far below 0 too, where
// (1 + erf(x / sqrt(2))) / 2 would cancel.
struct Normal {
  vf bell, cumulative;
};
inline Normal normal(vf x) {
  const vf a = vabs(x);
  const vf bell = exp(splat(-0.5f) * x * x);
  const vf t = splat(1.0f) / fma(splat(0.3f), a, splat(1.0f));
  vf p = splat(-0.020612461f);
  p = fma(p, t, splat(0.112374f));
  p = fma(p, t, splat(-0.22806384f));
  p = fma(p, t, splat(0.19157745f));
  p = fma(p, t, splat(-0.07924432f));
  p = fma(p, t, splat(0.096056476f));
  p = fma(p, t, splat(0.07842596f));
  p = fma(p, t, splat(0.11022726f));
  p = fma(p, t, splat(0.11957285f));
  p = fma(p, t, splat(0.11968663f));
  const vf tail = bell * (p * t);
  return {bell, select(x < vf{}, tail, splat(1.0f) - tail)};
}

// x/2 (1 + erf(x / sqrt(2)))
inline vf gelu_erf(vf x) { return x * normal(x).cumulative; }

// P(X <= x) + x * density(x); beyond +-20 it is 0 or 1 already.
inline vf gelu_erf_derivative(vf x) {
  x = vmin(splat(20.0f), vmax(splat(-20.0f), x));
  const Normal n = normal(x);
  return fma(x * splat(0.3989423f), n.bell, n.cumulative);
}

}  // namespace
}  // namespace heddle::cpu::HEDDLE_ISA
