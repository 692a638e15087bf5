#pragma once
// The activations and their derivatives, in f32: the formulas of the CPU's vecmath.h. NaN in gives NaN out; nothing overflows on the
// way to a finite result.
#include <cuda_runtime.h>

#include "ops/backend.h"

namespace heddle::cuda {

__device__ inline float relu(float x) { return x < 0 ? 0.0f : x; }

// 1 / (1 + e^-x)
__device__ inline float sigmoid(float x) { return 1.0f / (1.0f + expf(-x)); }

// sigmoid(x) (1 - sigmoid(x)), without cancellation: e^-|x| / (1 + e^-|x|)^2
__device__ inline float sigmoid_derivative(float x) {
  const float e = expf(-fabsf(x)), s = 1.0f / (1.0f + e);
  return e * s * s;
}

// 1 - tanh(x)^2, without cancellation
__device__ inline float tanh_derivative(float x) { return 4.0f * sigmoid_derivative(2.0f * x); }

// x limited to [-bound, bound]; NaN stays.
__device__ inline float clamped(float x, float bound) { return x < -bound ? -bound : x > bound ? bound : x; }

// x * sigmoid(x)
__device__ inline float silu(float x) { return x / (1.0f + expf(-x)); }

// sigmoid(x), 1 - sigmoid(x) = e^-x sigmoid(x), and with them the derivative of silu: s (1 + x (1 - s)). Beyond +-87 it is 0 or 1
// already, and e^-x still finite.
struct Silu {
  float sigmoid, derivative;
};
__device__ inline Silu silu_parts(float x) {
  x = clamped(x, 87.0f);
  const float e = expf(-x), s = 1.0f / (1.0f + e);
  return {s, fmaf(x * s, e * s, s)};
}
__device__ inline float silu_derivative(float x) { return silu_parts(x).derivative; }

// x/2 (1 + tanh(u)) with u = sqrt(2/pi) (x + 0.044715 x^3), which is x * sigmoid(2u): one exponential, no cancellation.
__device__ inline float gelu_tanh(float x) { return x / (1.0f + expf(x * fmaf(x * x, -0.07135481f, -1.5957691f))); }

// s + x s (1 - s) (2u)', s = sigmoid(2u); 4 s (1 - s) is 1 - tanh(u)^2. Beyond +-10 it is 0 or 1 already, and e^-2u still finite.
__device__ inline float gelu_tanh_derivative(float x) {
  x = clamped(x, 10.0f);
  const float square = x * x;
  const float e = expf(x * fmaf(square, -0.07135481f, -1.5957691f)), s = 1.0f / (1.0f + e);
  return fmaf(x * fmaf(square, 0.21406444f, 1.5957691f) * s, e * s, s);
}

// The standard normal distribution: e^(-x^2/2) and, from it, P(X <= x). The tail beyond |x| is e^(-x^2/2) t P(t) with
// t = 1 / (1 + 0.3 |x|), to 4e-9 relative for |x| <= 14, where it is below the smallest f32: accurate far below 0 too, where
// (1 + erf(x / sqrt(2))) / 2 would cancel.
struct Normal {
  float bell, cumulative;
};
__device__ inline Normal normal(float x) {
  const float bell = expf(-0.5f * x * x);
  const float t = 1.0f / fmaf(0.3f, fabsf(x), 1.0f);
  float p = -0.020612461f;
  p = fmaf(p, t, 0.112374f);
  p = fmaf(p, t, -0.22806384f);
  p = fmaf(p, t, 0.19157745f);
  p = fmaf(p, t, -0.07924432f);
  p = fmaf(p, t, 0.096056476f);
  p = fmaf(p, t, 0.07842596f);
  p = fmaf(p, t, 0.11022726f);
  p = fmaf(p, t, 0.11957285f);
  p = fmaf(p, t, 0.11968663f);
  const float tail = bell * (p * t);
  return {bell, x < 0 ? tail : 1.0f - tail};
}

// x/2 (1 + erf(x / sqrt(2)))
__device__ inline float gelu_erf(float x) { return x * normal(x).cumulative; }

// P(X <= x) + x * density(x); beyond +-20 it is 0 or 1 already.
__device__ inline float gelu_erf_derivative(float x) {
  x = clamped(x, 20.0f);
  const Normal n = normal(x);
  return fmaf(x * 0.3989423f, n.bell, n.cumulative);
}

template <int W, class F>
__device__ inline void map_values(float (&v)[W], F f) {
#pragma unroll
  for (int i = 0; i < W; ++i) v[i] = f(v[i]);
}

template <int W, class F>
__device__ inline void map_pairs(float (&v)[W], const float (&x)[W], F f) {
#pragma unroll
  for (int i = 0; i < W; ++i) v[i] = f(v[i], x[i]);
}

// v = activation(v); one branch for all of v.
template <int W>
__device__ inline void activate(Activation kind, float (&v)[W]) {
  switch (kind) {
    case Activation::none:
      return;
    case Activation::gelu_tanh:
      return map_values(v, [](float x) { return gelu_tanh(x); });
    case Activation::gelu_erf:
      return map_values(v, [](float x) { return gelu_erf(x); });
    case Activation::relu:
      return map_values(v, [](float x) { return relu(x); });
    case Activation::relu2:
      return map_values(v, [](float x) { return relu(x) * relu(x); });
    case Activation::silu:
      return map_values(v, [](float x) { return silu(x); });
  }
}

// v = v activation'(x); one branch for all of v.
template <int W>
__device__ inline void multiply_by_derivative(Activation kind, float (&v)[W], const float (&x)[W]) {
  switch (kind) {
    case Activation::none:
      return;
    case Activation::gelu_tanh:
      return map_pairs(v, x, [](float dy, float at) { return dy * gelu_tanh_derivative(at); });
    case Activation::gelu_erf:
      return map_pairs(v, x, [](float dy, float at) { return dy * gelu_erf_derivative(at); });
    case Activation::relu:
      return map_pairs(v, x, [](float dy, float at) { return at <= 0 ? 0.0f : dy; });
    case Activation::relu2:
      return map_pairs(v, x, [](float dy, float at) { return at <= 0 ? 0.0f : dy * (at + at); });
    case Activation::silu:
      return map_pairs(v, x, [](float dy, float at) { return dy * silu_derivative(at); });
  }
}

}  // namespace heddle::cuda
