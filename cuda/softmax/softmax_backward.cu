// Gradients of softmax, dx = y * (dy - sum(y * dy)), and of log-softmax, dx = dy - e^y * sum(dy).
#include "common/exp.cuh"
#include "common/reduce.cuh"
#include "common/row.cuh"
#include "kernels.h"
#include "runtime/launch.cuh"

namespace heddle::cuda {
namespace {

template <class T, bool log, int V>
__device__ inline float add_terms(float sum, const Vector<T, V>& y, const Vector<T, V>& dy) {
#pragma unroll
  for (int j = 0; j < V; ++j) {
    const float up = to_float(dy.x[j]);
    sum = log ? sum + up : fmaf(to_float(y.x[j]), up, sum);
  }
  return sum;
}

template <class T, bool log, int V>
__device__ inline void put_gradient(const Vector<T, V>& y, const Vector<T, V>& dy, float sum, T* dx, bool accumulate, bool inside = true) {
  const Vector<T, V> old = load_if<V>(accumulate && inside, dx);
  Vector<T, V> out;
#pragma unroll
  for (int j = 0; j < V; ++j) {
    const float at = to_float(y.x[j]), up = to_float(dy.x[j]);
    const float v = log ? fmaf(-exp_for<T>(at), sum, up) : at * (up - sum);
    out.x[j] = from_float<T>(accumulate ? to_float(old.x[j]) + v : v);
  }
  if (inside) store_vector<T, V>(dx, out);
}

template <class T, bool log, int V, int N>
__global__ void __launch_bounds__(32 * kRowWarps, 4) softmax_backward_warp(SoftmaxBackwardArgs a) {
  const int64_t row = static_cast<int64_t>(blockIdx.x) * kRowWarps + threadIdx.x / 32;
  if (row >= a.rows) return;
  const int cols = static_cast<int>(a.cols);
  Vector<T, V> y[N], dy[N];
  load_lane<V, N>(static_cast<const T*>(a.y) + row * a.cols, cols, y);
  load_lane<V, N>(static_cast<const T*>(a.dy) + row * a.cols, cols, dy);
  float sum = 0;
#pragma unroll
  for (int k = 0; k < N; ++k) sum = add_terms<T, log, V>(sum, y[k], dy[k]);
  sum = warp_reduce<Add>(sum);
  T* dx = static_cast<T*>(a.dx) + row * a.cols;
  each_of_lane<V, N>(cols,
                     [&](int k, int column, bool inside) { put_gradient<T, log, V>(y[k], dy[k], sum, dx + column, a.accumulate, inside); });
}

// The second pass finds the rows in the L1 cache.
template <class T, bool log, int V>
__global__ void __launch_bounds__(512, 2) softmax_backward_block(SoftmaxBackwardArgs a) {
  __shared__ float scratch[32];
  const int64_t at = blockIdx.x * a.cols;
  const T *y = static_cast<const T*>(a.y) + at, *dy = static_cast<const T*>(a.dy) + at;
  T* dx = static_cast<T*>(a.dx) + at;
  float sum = 0;
  each_of_thread<V>(
      a.cols, [&](int64_t column) { sum = add_terms<T, log, V>(sum, load_vector<T, V>(y + column), load_vector<T, V>(dy + column)); });
  sum = block_reduce<Add>(sum, scratch);
  each_of_thread<V>(a.cols, [&](int64_t column) {
    put_gradient<T, log, V>(load_vector<T, V>(y + column), load_vector<T, V>(dy + column), sum, dx + column, a.accumulate);
  });
}

template <class T, bool log>
void softmax_backward_as(const SoftmaxBackwardArgs& a) {
  const bool aligned = rows_aligned<T>(a.cols, a.y, a.dy, a.dx);
  if (a.cols <= warp_cols(aligned)) {
    dispatch_warp_row<T>(a.cols, aligned, [&](auto v, auto n) {
      launch("softmax_backward_warp", softmax_backward_warp<T, log, v(), n()>, warp_row_blocks(a.rows), 32 * kRowWarps, 0, a);
    });
  } else {
    dispatch_block_row<T>(aligned, [&](auto v) {
      launch("softmax_backward_block", softmax_backward_block<T, log, v()>, static_cast<unsigned>(a.rows), row_threads(a.cols, v()), 0, a);
    });
  }
}

}  // namespace

void softmax_backward(const SoftmaxBackwardArgs& a) {
  if (a.rows == 0 || a.cols == 0) return;
  dispatch_float(a.type, [&](auto type) {
    using T = decltype(type);
    a.log ? softmax_backward_as<T, true>(a) : softmax_backward_as<T, false>(a);
  });
}

}  // namespace heddle::cuda
