// Functions of two arrays with broadcasting.
#include <type_traits>

#include "common/convert.cuh"
#include "common/strided.cuh"
#include "kernels.h"

namespace heddle::cuda {
namespace {

template <class T>
using Computed = std::conditional_t<std::is_same_v<T, int32_t>, int32_t, float>;
template <class T>
__device__ inline Computed<T> computed(T x) {
  if constexpr (std::is_same_v<T, int32_t>)
    return x;
  else
    return to_float(x);
}

// Sums and products of i32 wrap around, as unsigned ones do.
__device__ inline int32_t wrap(uint32_t x) { return static_cast<int32_t>(x); }
__device__ inline uint32_t bits(int32_t x) { return static_cast<uint32_t>(x); }

struct AddOp {
  __device__ static float apply(float a, float b, Fault*) { return a + b; }
  __device__ static int32_t apply(int32_t a, int32_t b, Fault*) { return wrap(bits(a) + bits(b)); }
};
struct SubOp {
  __device__ static float apply(float a, float b, Fault*) { return a - b; }
  __device__ static int32_t apply(int32_t a, int32_t b, Fault*) { return wrap(bits(a) - bits(b)); }
};
struct MulOp {
  __device__ static float apply(float a, float b, Fault*) { return a * b; }
  __device__ static int32_t apply(int32_t a, int32_t b, Fault*) { return wrap(bits(a) * bits(b)); }
};
struct DivOp {
  __device__ static float apply(float a, float b, Fault*) { return a / b; }
  __device__ static int32_t apply(int32_t a, int32_t b, Fault* fault) {
    if (b == 0) {
      report(fault, FaultKind::zero_divisor, 0, 0, 0);
      return 0;
    }
    return b == -1 ? wrap(0u - bits(a)) : a / b;  // -2^31 / -1 wraps around too
  }
};
struct MaximumOp {  // NaN wins
  __device__ static float apply(float a, float b, Fault*) { return a > b || a != a ? a : b; }
  __device__ static int32_t apply(int32_t a, int32_t b, Fault*) { return a > b ? a : b; }
};
struct MinimumOp {
  __device__ static float apply(float a, float b, Fault*) { return a < b || a != a ? a : b; }
  __device__ static int32_t apply(int32_t a, int32_t b, Fault*) { return a < b ? a : b; }
};
struct PowOp {
  __device__ static float apply(float a, float b, Fault*) { return powf(a, b); }
  __device__ static int32_t apply(int32_t a, int32_t b, Fault* fault) {
    if (b < 0) {
      report(fault, FaultKind::negative_exponent, 0, b, 0);
      return 0;
    }
    uint32_t result = 1, factor = bits(a);
    for (; b; b >>= 1, factor *= factor)
      if (b & 1) result *= factor;
    return wrap(result);
  }
};
struct EqOp {
  template <class T>
  __device__ static uint8_t apply(T a, T b, Fault*) {
    return a == b;
  }
};
struct NeOp {
  template <class T>
  __device__ static uint8_t apply(T a, T b, Fault*) {
    return a != b;
  }
};
struct LtOp {
  template <class T>
  __device__ static uint8_t apply(T a, T b, Fault*) {
    return a < b;
  }
};
struct LeOp {
  template <class T>
  __device__ static uint8_t apply(T a, T b, Fault*) {
    return a <= b;
  }
};

// The result f(a, b), added to what the output holds where that is asked for; one rounding.
template <class Out, class R>
__device__ inline Out result(R y, bool accumulate, Out old) {
  if constexpr (kIsFloat<Out>)
    return from_float<Out>(accumulate ? to_float(old) + y : y);
  else
    return static_cast<Out>(y);
}

template <class Op, class T, class Out>
__global__ void __launch_bounds__(kThreads)
    binary_kernel(const __grid_constant__ Strided<3> s, Out* out, const T* a, const T* b, bool accumulate, Fault* fault) {
  constexpr int V = kVector<T>;
  const uint32_t item = blockIdx.x * kThreads + threadIdx.x;
  if (item >= s.items) return;
  const Place<3> p = place<V>(s, item);
  Out* to = out + p.at[0];
  if (p.vector) {
    const Vector<T, V> x = fetch<T, V>(a + p.at[1], s.row_stride[1]), y = fetch<T, V>(b + p.at[2], s.row_stride[2]);
    Vector<Out, V> z{};
    if (accumulate) z = load_vector<Out, V>(to);
#pragma unroll
    for (int j = 0; j < V; ++j) z.x[j] = result<Out>(Op::apply(computed(x.x[j]), computed(y.x[j]), fault), accumulate, z.x[j]);
    store_vector<Out, V>(to, z);
  } else {
    const Out old = accumulate ? *to : Out{};
    *to = result<Out>(Op::apply(computed(a[p.at[1]]), computed(b[p.at[2]]), fault), accumulate, old);
  }
}

template <class Op, class T, class Out>
void run(const BinaryArgs& args) {
  const Nest<3> nest({&args.out, &args.a, &args.b});
  each_strided(kVector<T>, nest, {args.out.data, args.a.data, args.b.data}, {sizeof(Out), sizeof(T), sizeof(T)},
               [&](const Strided<3>& s, const int64_t (&offset)[3]) {
                 launch("binary", binary_kernel<Op, T, Out>, blocks_for(s.items, kThreads), kThreads, 0, s,
                        static_cast<Out*>(args.out.data) + offset[0], static_cast<const T*>(args.a.data) + offset[1],
                        static_cast<const T*>(args.b.data) + offset[2], args.accumulate, queue().fault);
               });
}

template <class T>
void run(const BinaryArgs& args) {
  switch (args.kind) {
    case Binary::add:
      return run<AddOp, T, T>(args);
    case Binary::sub:
      return run<SubOp, T, T>(args);
    case Binary::mul:
      return run<MulOp, T, T>(args);
    case Binary::div:
      return run<DivOp, T, T>(args);
    case Binary::maximum:
      return run<MaximumOp, T, T>(args);
    case Binary::minimum:
      return run<MinimumOp, T, T>(args);
    case Binary::pow:
      return run<PowOp, T, T>(args);
    case Binary::eq:
      return run<EqOp, T, uint8_t>(args);
    case Binary::ne:
      return run<NeOp, T, uint8_t>(args);
    case Binary::lt:
      return run<LtOp, T, uint8_t>(args);
    case Binary::le:
      return run<LeOp, T, uint8_t>(args);
    case Binary::gt:
    case Binary::ge:
      break;  // their arguments come swapped
  }
}

}  // namespace

void binary(const BinaryArgs& args) {
  if (args.kind == Binary::gt || args.kind == Binary::ge) {
    BinaryArgs swapped = args;
    swapped.kind = args.kind == Binary::gt ? Binary::lt : Binary::le;
    swapped.a = args.b;
    swapped.b = args.a;
    return binary(swapped);
  }
  if (args.a.dtype == DType::i32) return run<int32_t>(args);
  dispatch_float(args.a.dtype, [&](auto t) { run<decltype(t)>(args); });
}

}  // namespace heddle::cuda
