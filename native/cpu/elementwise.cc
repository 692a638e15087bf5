// Functions of one array (unary), their gradients, and SwiGLU.
#include "cpu/kernels.h"
#include "cpu/vecmath.h"

namespace heddle::cpu::HEDDLE_ISA {
namespace {

constexpr int64_t kGrain = 8192;

// y[i] = f(x[i])
template <class F>
inline void map(const UnaryArgs& a, F f) {
  const float* x = f32(a.x);
  float* y = f32(a.y);
  parallel_range(a.n, kGrain, [&](int64_t low, int64_t high) {
    int64_t i = low;
    for (; i + VW <= high; i += VW) store(y + i, f(load(x + i)));
    if (const int rest = static_cast<int>(high - i)) store_part(y + i, f(load_part(x + i, rest)), rest);
  });
}

// dx[i] (+)= f(x[i], dy[i])
template <class F>
inline void map_backward(const UnaryBackwardArgs& a, F f) {
  const float *x = f32(a.x), *dy = f32(a.dy);
  float* dx = f32(a.dx);
  parallel_range(a.n, kGrain, [&](int64_t low, int64_t high) {
    int64_t i = low;
    for (; i + VW <= high; i += VW) {
      const vf d = f(load(x + i), load(dy + i));
      store(dx + i, a.accumulate ? load(dx + i) + d : d);
    }
    if (const int rest = static_cast<int>(high - i)) {
      const vf d = f(load_part(x + i, rest), load_part(dy + i, rest));
      store_part(dx + i, a.accumulate ? load_part(dx + i, rest) + d : d, rest);
    }
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
  parallel_range(a.rows, (kGrain + a.cols - 1) / a.cols, [&](int64_t low, int64_t high) {
    for (int64_t r = low; r < high; ++r) {
      const float *gate = f32(a.gate) + r * a.gate_stride, *up = f32(a.up) + r * a.up_stride;
      float* y = f32(a.y) + r * a.cols;
      int64_t c = 0;
      for (; c + VW <= a.cols; c += VW) store(y + c, silu(load(gate + c)) * load(up + c));
      if (const int rest = static_cast<int>(a.cols - c)) store_part(y + c, silu(load_part(gate + c, rest)) * load_part(up + c, rest), rest);
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
  parallel_range(a.rows, (kGrain + a.cols - 1) / a.cols, [&](int64_t low, int64_t high) {
    for (int64_t r = low; r < high; ++r) {
      const float *gate = f32(a.gate) + r * a.gate_stride, *up = f32(a.up) + r * a.up_stride, *dy = f32(a.dy) + r * a.cols;
      float *dgate = f32(a.dgate) + r * a.dgate_stride, *dup = f32(a.dup) + r * a.dup_stride;
      int64_t c = 0;
      for (; c + VW <= a.cols; c += VW) {
        const Gradients g = gradients(load(gate + c), load(up + c), load(dy + c));
        store(dgate + c, a.accumulate ? load(dgate + c) + g.gate : g.gate);
        store(dup + c, a.accumulate ? load(dup + c) + g.up : g.up);
      }
      if (const int n = static_cast<int>(a.cols - c)) {
        const Gradients g = gradients(load_part(gate + c, n), load_part(up + c, n), load_part(dy + c, n));
        store_part(dgate + c, a.accumulate ? load_part(dgate + c, n) + g.gate : g.gate, n);
        store_part(dup + c, a.accumulate ? load_part(dup + c, n) + g.up : g.up, n);
      }
    }
  });
}

}  // namespace heddle::cpu::HEDDLE_ISA
