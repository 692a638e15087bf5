// Functions of one array (unary), their gradients, and SwiGLU.
#include "cpu/kernels.h"
#include "cpu/output.h"
#include "cpu/rows.h"
#include "cpu/vecmath.h"

namespace heddle::cpu::HEDDLE_ISA {
namespace {

constexpr int64_t kGrain = 8192;

// y[i] = f(x[i])
template <class F>
inline void map(const UnaryArgs& a, F f) {
  const float* x = f32(a.x);
  float* y = f32(a.y);
  const bool past = x != y && past_caches(a.n * 4);
  parallel_range(a.n, kGrain, [&](int64_t low, int64_t high) {
    const float* from = x + low;
    write_vectors(past, y + low, high - low, [&](int64_t i, int n) { return f(load_n(from + i, n)); }, from);
  });
}

// dx[i] (+)= f(x[i], dy[i])
template <class F>
inline void map_backward(const UnaryBackwardArgs& a, F f) {
  const float *x = f32(a.x), *dy = f32(a.dy);
  float* dx = f32(a.dx);
  const bool accumulate = a.accumulate, past = !accumulate && dx != x && dx != dy && past_caches(a.n * 4);
  parallel_range(a.n, kGrain, [&](int64_t low, int64_t high) {
    const float *at = x + low, *up = dy + low;
    float* out = dx + low;
    const auto gradient = [&](int64_t i, int n) {
      const vf d = f(load_n(at + i, n), load_n(up + i, n));
      return accumulate ? load_n(out + i, n) + d : d;
    };
    write_vectors(past, out, high - low, gradient, at, up);
  });
}

inline vf sine(vf x) {  // libm's: rare enough
  for (int i = 0; i < VW; ++i) x[i] = __builtin_sinf(x[i]);
  return x;
}
inline vf cosine(vf x) {
  for (int i = 0; i < VW; ++i) x[i] = __builtin_cosf(x[i]);
  return x;
}
inline vf sign(vf x) {  // of 0 and NaN: itself
  return select(x > vf{}, splat(1.0f), select(x < vf{}, splat(-1.0f), x));
}
inline vf relu(vf x) { return select(x < vf{}, vf{}, x); }  // NaN stays

}  // namespace

void unary(const UnaryArgs& a) {
  switch (a.kind) {
    case Unary::neg:
      return map(a, [](vf x) { return -x; });
    case Unary::abs:
      return map(a, [](vf x) { return vabs(x); });
    case Unary::sign:
      return map(a, [](vf x) { return sign(x); });
    case Unary::square:
      return map(a, [](vf x) { return x * x; });
    case Unary::sqrt:
      return map(a, [](vf x) { return sqrt(x); });
    case Unary::rsqrt:
      return map(a, [](vf x) { return splat(1.0f) / sqrt(x); });
    case Unary::reciprocal:
      return map(a, [](vf x) { return splat(1.0f) / x; });
    case Unary::exp:
      return map(a, [](vf x) { return exp(x); });
    case Unary::log:
      return map(a, [](vf x) { return log(x); });
    case Unary::sin:
      return map(a, [](vf x) { return sine(x); });
    case Unary::cos:
      return map(a, [](vf x) { return cosine(x); });
    case Unary::tanh:
      return map(a, [](vf x) { return tanh(x); });
    case Unary::sigmoid:
      return map(a, [](vf x) { return sigmoid(x); });
    case Unary::relu:
      return map(a, [](vf x) { return relu(x); });
    case Unary::relu2:
      return map(a, [](vf x) { return relu(x) * relu(x); });
    case Unary::silu:
      return map(a, [](vf x) { return silu(x); });
    case Unary::gelu_tanh:
      return map(a, [](vf x) { return gelu_tanh(x); });
    case Unary::gelu_erf:
      return map(a, [](vf x) { return gelu_erf(x); });
  }
}

void unary_backward(const UnaryBackwardArgs& a) {
  switch (a.kind) {
    case Unary::neg:
      return map_backward(a, [](vf, vf dy) { return -dy; });
    case Unary::abs:
      return map_backward(a, [](vf x, vf dy) { return dy * sign(x); });
    case Unary::sign:
      return map_backward(a, [](vf, vf) { return vf{}; });
    case Unary::square:
      return map_backward(a, [](vf x, vf dy) { return dy * (x + x); });
    case Unary::sqrt:
      return map_backward(a, [](vf x, vf dy) { return dy * splat(0.5f) / sqrt(x); });
    case Unary::rsqrt:
      return map_backward(a, [](vf x, vf dy) { return dy * splat(-0.5f) / (x * sqrt(x)); });
    case Unary::reciprocal:
      return map_backward(a, [](vf x, vf dy) { return -dy / (x * x); });
    case Unary::exp:
      return map_backward(a, [](vf x, vf dy) { return dy * exp(x); });
    case Unary::log:
      return map_backward(a, [](vf x, vf dy) { return dy / x; });
    case Unary::sin:
      return map_backward(a, [](vf x, vf dy) { return dy * cosine(x); });
    case Unary::cos:
      return map_backward(a, [](vf x, vf dy) { return -dy * sine(x); });
    case Unary::tanh:
      return map_backward(a, [](vf x, vf dy) { return dy * tanh_derivative(x); });
    case Unary::sigmoid:
      return map_backward(a, [](vf x, vf dy) { return dy * sigmoid_derivative(x); });
    case Unary::relu:
      return map_backward(a, [](vf x, vf dy) { return select(x <= vf{}, vf{}, dy); });
    case Unary::relu2:
      return map_backward(a, [](vf x, vf dy) { return select(x <= vf{}, vf{}, dy * (x + x)); });
    case Unary::silu:
      return map_backward(a, [](vf x, vf dy) { return dy * silu_derivative(x); });
    case Unary::gelu_tanh:
      return map_backward(a, [](vf x, vf dy) { return dy * gelu_tanh_derivative(x); });
    case Unary::gelu_erf:
      return map_backward(a, [](vf x, vf dy) { return dy * gelu_erf_derivative(x); });
  }
}

void swiglu(const SwigluArgs& a) {
  if (a.cols <= 0) return;
  const bool past = past_caches(a.rows * a.cols * 4);
  parallel_range(a.rows, (kGrain + a.cols - 1) / a.cols, [&](int64_t low, int64_t high) {
    for (int64_t r = low; r < high; ++r) {
      const float *gate = f32(a.gate) + r * a.gate_stride, *up = f32(a.up) + r * a.up_stride;
      const auto product = [&](int64_t c, int n) { return silu(load_n(gate + c, n)) * load_n(up + c, n); };
      write_vectors(past, f32(a.y) + r * a.cols, a.cols, product, gate, up);
    }
  });
}

void swiglu_backward(const SwigluBackwardArgs& a) {
  struct Gradients {
    vf gate, up;
  };
  const auto gradients = [](vf gate, vf up, vf dy) -> Gradients {
    // One exponential for both: s and 1 - s = e^-x s, finite beyond +-87 where s is 0 or 1 (see silu_derivative).
    const vf x = vmin(splat(87.0f), vmax(splat(-87.0f), gate));
    const vf e = exp(-x);
    const vf s = splat(1.0f) / (splat(1.0f) + e);
    return {dy * up * fma(x * s, e * s, s), dy * (gate * s)};
  };
  if (a.cols <= 0) return;
  const bool large = !a.accumulate && past_caches(2 * a.rows * a.cols * 4);
  parallel_range(a.rows, (kGrain + a.cols - 1) / a.cols, [&](int64_t low, int64_t high) {
    for (int64_t r = low; r < high; ++r) {
      const float *gate = f32(a.gate) + r * a.gate_stride, *up = f32(a.up) + r * a.up_stride, *dy = f32(a.dy) + r * a.cols;
      float *dgate = f32(a.dgate) + r * a.dgate_stride, *dup = f32(a.dup) + r * a.dup_stride;
      const bool past = large && to_line(dgate) == to_line(dup);
      const auto both = [&](int64_t c, int n) {
        const Gradients g = gradients(load_n(gate + c, n), load_n(up + c, n), load_n(dy + c, n));
        put(past, dup + c, a.accumulate ? load_n(dup + c, n) + g.up : g.up, n);
        return a.accumulate ? load_n(dgate + c, n) + g.gate : g.gate;
      };
      write_vectors(past, dgate, a.cols, both, gate, up, dy);
    }
  });
}

}  // namespace heddle::cpu::HEDDLE_ISA
