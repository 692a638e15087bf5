// dx (+)= dy f'(x) over dense arrays.
#include "common/dense.cuh"
#include "elementwise/functions.cuh"
#include "kernels.h"

namespace heddle::cuda {
namespace {

constexpr int kBlock = 256;

template <class Function, class T>
__device__ inline T gradient(T x, T dy, bool accumulate, T old) {
  const float d = Function::backward(to_float(x), to_float(dy));
  return from_float<T>(accumulate ? to_float(old) + d : d);
}

template <class Function, class T>
__global__ void __launch_bounds__(kBlock) unary_backward_kernel(Dense d, const T* x, const T* dy, T* dx, bool accumulate) {
  constexpr int V = kVector<T>;
  const DensePlace p = dense_place<V, kBlock>(d);
  if (!p.inside) return;
  if (p.vector) {
    const Vector<T, V> v = load_vector(x + p.at), g = load_vector(dy + p.at);
    Vector<T, V> sum{};
    if (accumulate) sum = load_vector(dx + p.at);
#pragma unroll
    for (int j = 0; j < V; ++j) sum.x[j] = gradient<Function>(v.x[j], g.x[j], accumulate, sum.x[j]);
    store_vector(dx + p.at, sum);
  } else {
    dx[p.at] = gradient<Function>(x[p.at], dy[p.at], accumulate, accumulate ? dx[p.at] : T{});
  }
}

}  // namespace

void unary_backward(const UnaryBackwardArgs& a) {
  if (a.n == 0) return;
  dispatch_float(a.type, [&](auto t) {
    using T = decltype(t);
    const Dense d(a.n, kVector<T>, aligned16(a.x) && aligned16(a.dy) && aligned16(a.dx));
    dispatch_unary(a.kind, [&](auto function) {
      launch("unary_backward", unary_backward_kernel<decltype(function), T>, blocks_for(d.items, kBlock), kBlock, 0, d,
             static_cast<const T*>(a.x), static_cast<const T*>(a.dy), static_cast<T*>(a.dx), a.accumulate);
    });
  });
}

}  // namespace heddle::cuda
