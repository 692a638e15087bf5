#pragma once
// What follows the sum over k: * a_scale * b_scale, + bias, store to pre, activation, + residual; or * activation'(derivative_at). On a
// tile of c that is still in the cache.
#include "cpu/rows.h"
#include "cpu/vecmath.h"
#include "ops/backend.h"

namespace heddle::cpu::HEDDLE_ISA {
namespace {

inline bool has_epilogue(const MatmulArgs& g) {
  return g.a_scale || g.bias || g.pre || g.residual || g.derivative_at || g.activation != Activation::none;
}

// v = f(v, its column, its offset in a dense M x N matrix, lanes) for the vectors of a tile.
template <class F>
inline void each_vector(const MatmulArgs& g, float* c, int64_t m, int rows, int64_t n, int cols, F f) {
  for (int64_t i = m; i < m + rows; ++i) {
    for (int j = 0; j < cols; j += VW) {
      const int lanes = cols - j < VW ? cols - j : VW;
      float* at = c + i * g.c_m + n + j;
      store_n(at, f(load_n(at, lanes), n + j, i * g.N + n + j, lanes), lanes);
    }
  }
}

// c, pre and residual are those of one product of the batch.
inline void epilogue(const MatmulArgs& g, float* c, float* pre, const float* residual, int64_t m, int rows, int64_t n, int cols) {
  const auto forward = [&](auto f) {
    const float* bias = static_cast<const float*>(g.bias);
    const vf scale = splat(g.a_scale ? *g.a_scale * *g.b_scale : 1);
    each_vector(g, c, m, rows, n, cols, [&](vf v, int64_t column, int64_t at, int lanes) {
      if (g.a_scale) v = v * scale;
      if (bias) v = v + load_n(bias + column, lanes);
      if (pre) store_n(pre + at, v, lanes);
      v = f(v);
      return residual ? v + load_n(residual + at, lanes) : v;
    });
  };
  const auto backward = [&](auto derivative) {
    const float* x = static_cast<const float*>(g.derivative_at);
    each_vector(g, c, m, rows, n, cols, [&](vf v, int64_t, int64_t at, int lanes) { return derivative(load_n(x + at, lanes), v); });
  };
  const auto run = [&](auto f, auto derivative) { g.derivative_at ? backward(derivative) : forward(f); };
  switch (g.activation) {
    case Activation::none:
      return run([](vf x) { return x; }, [](vf, vf dy) { return dy; });
    case Activation::gelu_tanh:
      return run([](vf x) { return gelu_tanh(x); }, [](vf x, vf dy) { return dy * gelu_tanh_derivative(x); });
    case Activation::gelu_erf:
      return run([](vf x) { return gelu_erf(x); }, [](vf x, vf dy) { return dy * gelu_erf_derivative(x); });
    case Activation::relu:  // NaN stays
      return run([](vf x) { return vmax(vf{}, x); }, [](vf x, vf dy) { return select(x <= vf{}, vf{}, dy); });
    case Activation::relu2:
      return run([](vf x) { return vmax(vf{}, x) * vmax(vf{}, x); }, [](vf x, vf dy) { return select(x <= vf{}, vf{}, dy * (x + x)); });
    case Activation::silu:
      return run([](vf x) { return silu(x); }, [](vf x, vf dy) { return dy * silu_derivative(x); });
  }
}

}  // namespace
}  // namespace heddle::cpu::HEDDLE_ISA
