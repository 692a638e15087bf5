#pragma once
// What follows the sum over k: + bias, store to pre, activation, + residual; on a tile of c that is still in the cache.
#include "cpu/vecmath.h"
#include "ops/backend.h"

namespace heddle::cpu::HEDDLE_ISA {
namespace {

inline bool has_epilogue(const MatmulArgs& g) { return g.bias || g.pre || g.residual || g.activation != Activation::none; }

template <class F>
inline void epilogue_rows(const MatmulArgs& g, float* c, float* pre, const float* residual, int64_t m, int rows, int64_t n, int cols, F f) {
  const float* bias = static_cast<const float*>(g.bias);
  for (int64_t i = m; i < m + rows; ++i) {
    for (int j = 0; j < cols; j += VW) {
      const int64_t at = n + j;
      const int have = cols - j;
      const bool whole = have >= VW;
      const auto read = [&](const float* p) { return whole ? load(p) : load_part(p, have); };
      const auto write = [&](float* p, vf v) { whole ? store(p, v) : store_part(p, v, have); };
      vf v = read(c + i * g.c_m + at);
      if (bias) v = v + read(bias + at);
      if (pre) write(pre + i * g.N + at, v);
      v = f(v);
      if (residual) v = v + read(residual + i * g.N + at);
      write(c + i * g.c_m + at, v);
    }
  }
}

// c, pre and residual are those of one product of the batch.
inline void epilogue(const MatmulArgs& g, float* c, float* pre, const float* residual, int64_t m, int rows, int64_t n, int cols) {
  const auto run = [&](auto f) { epilogue_rows(g, c, pre, residual, m, rows, n, cols, f); };
  switch (g.activation) {
    case Activation::none:
      return run([](vf x) { return x; });
    case Activation::gelu_tanh:
      return run([](vf x) { return gelu_tanh(x); });
    case Activation::gelu_erf:
      return run([](vf x) { return gelu_erf(x); });
    case Activation::relu:
      return run([](vf x) { return vmax(vf{}, x); });  // NaN stays
    case Activation::relu2:
      return run([](vf x) { return vmax(vf{}, x) * vmax(vf{}, x); });
    case Activation::silu:
      return run([](vf x) { return silu(x); });
  }
}

}  // namespace
}  // namespace heddle::cpu::HEDDLE_ISA
