#pragma once
// The functions of one array and their gradients: forward(x) and backward(x, dy) = dy f'(x), in f32.
#include "common/activation.cuh"
#include "core/error.h"
#include "elementwise/trig.cuh"
#include "ops/backend.h"

namespace heddle::cuda {

__device__ inline float sign(float x) { return x > 0 ? 1.0f : x < 0 ? -1.0f : x; }  // of 0 and NaN: itself

struct Neg {
  __device__ static float forward(float x) { return -x; }
  __device__ static float backward(float, float dy) { return -dy; }
};
struct Abs {
  __device__ static float forward(float x) { return fabsf(x); }
  __device__ static float backward(float x, float dy) { return dy * sign(x); }
};
struct Sign {
  __device__ static float forward(float x) { return sign(x); }
  __device__ static float backward(float, float) { return 0; }
};
struct Square {
  __device__ static float forward(float x) { return x * x; }
  __device__ static float backward(float x, float dy) { return dy * (x + x); }
};
struct Sqrt {
  __device__ static float forward(float x) { return sqrtf(x); }
  __device__ static float backward(float x, float dy) { return dy * 0.5f / sqrtf(x); }
};
struct Rsqrt {
  __device__ static float forward(float x) { return 1.0f / sqrtf(x); }
  __device__ static float backward(float x, float dy) { return dy * -0.5f / (x * sqrtf(x)); }
};
struct Reciprocal {
  __device__ static float forward(float x) { return 1.0f / x; }
  __device__ static float backward(float x, float dy) { return -dy / (x * x); }
};
struct Exp {
  __device__ static float forward(float x) { return expf(x); }
  __device__ static float backward(float x, float dy) { return dy * expf(x); }
};
struct Log {
  __device__ static float forward(float x) { return logf(x); }
  __device__ static float backward(float x, float dy) { return dy / x; }
};
struct Sin {
  __device__ static float forward(float x) { return sine(x); }
  __device__ static float backward(float x, float dy) { return dy * cosine(x); }
};
struct Cos {
  __device__ static float forward(float x) { return cosine(x); }
  __device__ static float backward(float x, float dy) { return -dy * sine(x); }
};
struct Tanh {
  __device__ static float forward(float x) { return tanhf(x); }
  __device__ static float backward(float x, float dy) { return dy * tanh_derivative(x); }
};
struct Sigmoid {
  __device__ static float forward(float x) { return sigmoid(x); }
  __device__ static float backward(float x, float dy) { return dy * sigmoid_derivative(x); }
};
struct Relu {
  __device__ static float forward(float x) { return relu(x); }
  __device__ static float backward(float x, float dy) { return x <= 0 ? 0.0f : dy; }
};
struct Relu2 {
  __device__ static float forward(float x) { return relu(x) * relu(x); }
  __device__ static float backward(float x, float dy) { return x <= 0 ? 0.0f : dy * (x + x); }
};
struct SiluOp {
  __device__ static float forward(float x) { return silu(x); }
  __device__ static float backward(float x, float dy) { return dy * silu_derivative(x); }
};
struct GeluTanh {
  __device__ static float forward(float x) { return gelu_tanh(x); }
  __device__ static float backward(float x, float dy) { return dy * gelu_tanh_derivative(x); }
};
struct GeluErf {
  __device__ static float forward(float x) { return gelu_erf(x); }
  __device__ static float backward(float x, float dy) { return dy * gelu_erf_derivative(x); }
};

// f(Function{}) for the kind.
template <class F>
void dispatch_unary(Unary kind, F&& f) {
  switch (kind) {
    case Unary::neg:
      return f(Neg{});
    case Unary::abs:
      return f(Abs{});
    case Unary::sign:
      return f(Sign{});
    case Unary::square:
      return f(Square{});
    case Unary::sqrt:
      return f(Sqrt{});
    case Unary::rsqrt:
      return f(Rsqrt{});
    case Unary::reciprocal:
      return f(Reciprocal{});
    case Unary::exp:
      return f(Exp{});
    case Unary::log:
      return f(Log{});
    case Unary::sin:
      return f(Sin{});
    case Unary::cos:
      return f(Cos{});
    case Unary::tanh:
      return f(Tanh{});
    case Unary::sigmoid:
      return f(Sigmoid{});
    case Unary::relu:
      return f(Relu{});
    case Unary::relu2:
      return f(Relu2{});
    case Unary::silu:
      return f(SiluOp{});
    case Unary::gelu_tanh:
      return f(GeluTanh{});
    case Unary::gelu_erf:
      return f(GeluErf{});
  }
}

}  // namespace heddle::cuda
