// Softmax and log-softmax over rows: y = e^(x - max) / sum, or x - max - log(sum).
#include "common/exp.cuh"
#include "common/reduce.cuh"
#include "common/row.cuh"
#include "kernels.h"
#include "runtime/launch.cuh"

namespace heddle::cuda {
namespace {

template <class T, bool log, int V, int N>
__global__ void __launch_bounds__(32 * kRowWarps, 4) softmax_warp(SoftmaxArgs a) {
  const int64_t row = static_cast<int64_t>(blockIdx.x) * kRowWarps + threadIdx.x / 32;
  if (row >= a.rows) return;
  const int cols = static_cast<int>(a.cols);
  Vector<T, V> part[N];
  load_lane<V, N>(static_cast<const T*>(a.x) + row * a.cols, cols, part);
  float x[N * V];
  float max = kNegativeInfinity, sum = 0;
  each_of_lane<V, N>(cols, [&](int k, int, bool inside) {
#pragma unroll
    for (int j = 0; j < V; ++j) max = fmaxf(max, x[k * V + j] = inside ? to_float(part[k].x[j]) : kNegativeInfinity);
  });
  max = warp_reduce<Max>(max);
#pragma unroll
  for (int k = 0; k < N * V; ++k) {
    const float shifted = x[k] - max, e = exp_for<T>(shifted);  // rows of -inf alone become NaN through inf - inf
    x[k] = log ? shifted : e;
    sum += e;
  }
  sum = warp_reduce<Add>(sum);
  const float scale = 1.0f / sum, log_sum = logf(sum);
  T* y = static_cast<T*>(a.y) + row * a.cols;
  each_of_lane<V, N>(cols, [&](int k, int column, bool inside) {
    Vector<T, V> v;
#pragma unroll
    for (int j = 0; j < V; ++j) v.x[j] = from_float<T>(log ? x[k * V + j] - log_sum : x[k * V + j] * scale);
    if (inside) store_vector<T, V>(y + column, v);
  });
}

// The row is kept in shared memory between the passes where `keep` says that there is room; every thread reads back what it wrote.
template <class T, bool log, int V>
__global__ void __launch_bounds__(512, 2) softmax_block(SoftmaxArgs a, bool keep) {
  extern __shared__ __align__(16) unsigned char shared[];
  __shared__ float scratch[32];
  T* const kept = reinterpret_cast<T*>(shared);
  const T* x = static_cast<const T*>(a.x) + blockIdx.x * a.cols;
  T* y = static_cast<T*>(a.y) + blockIdx.x * a.cols;
  ExpSum mine;
  each_of_thread<V>(a.cols, [&](int64_t column) {
    const Vector<T, V> part = load_vector<T, V>(x + column);
    if (keep) keep_vector<T, V>(kept + column, part);
    float v[V];
#pragma unroll
    for (int j = 0; j < V; ++j) v[j] = to_float(part.x[j]);
    add_exps<T>(mine, v);
  });
  const ExpSum all = block_exps<T>(mine, scratch);
  const float scale = 1.0f / all.sum, log_sum = logf(all.sum);
  each_of_thread<V>(a.cols, [&](int64_t column) {
    const Vector<T, V> part = keep ? load_vector<T, V>(kept + column) : load_vector<T, V>(x + column);
    Vector<T, V> out;
#pragma unroll
    for (int j = 0; j < V; ++j) {
      const float shifted = to_float(part.x[j]) - all.max;
      out.x[j] = from_float<T>(log ? shifted - log_sum : exp_for<T>(shifted) * scale);
    }
    store_vector<T, V>(y + column, out);
  });
}

template <class T, bool log>
void softmax_as(const SoftmaxArgs& a) {
  const bool aligned = rows_aligned<T>(a.cols, a.x, a.y);
  if (a.cols <= warp_cols(aligned)) {
    dispatch_warp_row<T>(a.cols, aligned, [&](auto v, auto n) {
      launch("softmax_warp", softmax_warp<T, log, v(), n()>, warp_row_blocks(a.rows), 32 * kRowWarps, 0, a);
    });
  } else {
    const size_t shared = row_in_shared(static_cast<size_t>(a.cols) * sizeof(T));
    dispatch_block_row<T>(aligned, [&](auto v) {
      launch("softmax_block", softmax_block<T, log, v()>, static_cast<unsigned>(a.rows), row_threads(a.cols, v()), shared, a, shared > 0);
    });
  }
}

}  // namespace

void softmax(const SoftmaxArgs& a) {
  if (a.rows == 0 || a.cols == 0) return;
  dispatch_float(a.type, [&](auto type) {
    using T = decltype(type);
    a.log ? softmax_as<T, true>(a) : softmax_as<T, false>(a);
  });
}

}  // namespace heddle::cuda
