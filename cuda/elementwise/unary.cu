// y = f(x) over dense arrays.
#include "common/dense.cuh"
#include "elementwise/functions.cuh"
#include "kernels.h"

namespace heddle::cuda {
namespace {

constexpr int kBlock = 256;

template <class Function, class T>
__global__ void __launch_bounds__(kBlock) unary_kernel(Dense d, const T* x, T* y) {
  constexpr int V = kVector<T>;
  const DensePlace p = dense_place<V, kBlock>(d);
  if (!p.inside) return;
  if (p.vector) {
    Vector<T, V> v = load_vector(x + p.at);
#pragma unroll
    for (int j = 0; j < V; ++j) v.x[j] = from_float<T>(Function::forward(to_float(v.x[j])));
    store_vector(y + p.at, v);
  } else {
    y[p.at] = from_float<T>(Function::forward(to_float(x[p.at])));
  }
}

}  // namespace

void unary(const UnaryArgs& a) {
  if (a.n == 0) return;
  dispatch_float(a.type, [&](auto t) {
    using T = decltype(t);
    const Dense d(a.n, kVector<T>, aligned16(a.x) && aligned16(a.y));
    dispatch_unary(a.kind, [&](auto function) {
      launch("unary", unary_kernel<decltype(function), T>, blocks_for(d.items, kBlock), kBlock, 0, d, static_cast<const T*>(a.x),
             static_cast<T*>(a.y));
    });
  });
}

}  // namespace heddle::cuda
