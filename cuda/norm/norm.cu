// LayerNorm and RMSNorm, the residual addition fused: h = x (+ residual), y = (h - mean) * rstd * w (+ b).
// Two passes over the row, which stays in registers or shared memory. The second sums the deviations d from the mean, whose own mean
// is the rounding error `low`, and their squares: mean + low and the variance are right even where |mean| >> deviation.
#include "common/reduce.cuh"
#include "common/row.cuh"
#include "kernels.h"
#include "runtime/launch.cuh"

namespace heddle::cuda {
namespace {

// y = fma(h - mean, rstd, shift)
struct RowScale {
  float mean, rstd, shift;
};

// From the sums over the row of d and d^2 (rms: mean and d are 0, d^2 is h^2); stores the statistics.
template <bool rms>
__device__ inline RowScale finish_row(const NormArgs& a, int64_t row, float mean, float deviations, float squares, bool store) {
  const float size = static_cast<float>(a.cols), low = rms ? 0.0f : deviations / size;
  float variance = fmaf(-low, low, squares / size);
  if (variance < 0) variance = 0;
  const float rstd = 1.0f / sqrtf(variance + a.eps);
  if (store) {
    if (!rms) a.mean[row] = mean + low;
    a.rstd[row] = rstd;
  }
  return {mean, rstd, -low * rstd};
}

template <class T, int V>
__device__ inline Vector<T, V> scaled(const NormArgs& a, const float (&h)[V], const RowScale& s, int64_t column, bool inside = true) {
  const T *w = static_cast<const T*>(a.w), *b = static_cast<const T*>(a.b);
  const Vector<T, V> weight = load_if<V>(w && inside, w + column), bias = load_if<V>(b && inside, b + column);
  Vector<T, V> out;
#pragma unroll
  for (int j = 0; j < V; ++j) {
    float y = fmaf(h[j] - s.mean, s.rstd, s.shift);
    y = w ? y * to_float(weight.x[j]) : y;
    out.x[j] = from_float<T>(b ? y + to_float(bias.x[j]) : y);
  }
  return out;
}

// Rounded to the storage type: the backward pass will read what is stored.
template <class T, int V>
__device__ inline Vector<T, V> added(const Vector<T, V>& x, const Vector<T, V>& residual) {
  Vector<T, V> h;
#pragma unroll
  for (int j = 0; j < V; ++j) h.x[j] = from_float<T>(to_float(x.x[j]) + to_float(residual.x[j]));
  return h;
}

template <class T, bool rms, int V, int N>
__global__ void __launch_bounds__(32 * kRowWarps, 4) norm_warp(NormArgs a) {
  const int64_t row = static_cast<int64_t>(blockIdx.x) * kRowWarps + threadIdx.x / 32, at = row * a.cols;
  if (row >= a.rows) return;
  const int cols = static_cast<int>(a.cols);
  Vector<T, V> part[N];
  load_lane<V, N>(static_cast<const T*>(a.x) + at, cols, part);
  if (a.residual) {
    Vector<T, V> residual[N];
    load_lane<V, N>(static_cast<const T*>(a.residual) + at, cols, residual);
    each_of_lane<V, N>(cols, [&](int k, int column, bool inside) {
      part[k] = added<T, V>(part[k], residual[k]);
      if (inside) store_vector<T, V>(static_cast<T*>(a.h) + at + column, part[k]);
    });
  }
  float h[N][V];
  float sum = 0, deviations = 0, squares = 0;
#pragma unroll
  for (int k = 0; k < N; ++k)
#pragma unroll
    for (int j = 0; j < V; ++j) sum += h[k][j] = to_float(part[k].x[j]);
  const float mean = rms ? 0.0f : warp_reduce<Add>(sum) / static_cast<float>(cols);
  each_of_lane<V, N>(cols, [&](int k, int, bool inside) {
#pragma unroll
    for (int j = 0; j < V; ++j) {
      const float d = inside ? h[k][j] - mean : 0.0f;
      if (!rms) deviations += d;
      squares = fmaf(d, d, squares);
    }
  });
  if (!rms) deviations = warp_reduce<Add>(deviations);
  squares = warp_reduce<Add>(squares);
  const RowScale s = finish_row<rms>(a, row, mean, deviations, squares, threadIdx.x % 32 == 0);
  each_of_lane<V, N>(cols, [&](int k, int column, bool inside) {
    const Vector<T, V> out = scaled<T, V>(a, h[k], s, column, inside);
    if (inside) store_vector<T, V>(static_cast<T*>(a.y) + at + column, out);
  });
}

// The row is kept in shared memory between the passes where `keep` says that there is room; every thread reads back what it wrote.
template <class T, bool rms, int V>
__global__ void __launch_bounds__(512, 2) norm_block(NormArgs a, bool keep) {
  extern __shared__ __align__(16) unsigned char shared[];
  __shared__ float scratch[32];
  const int64_t row = blockIdx.x, at = row * a.cols;
  T* const kept = reinterpret_cast<T*>(shared);
  float sum = 0, deviations = 0, squares = 0;
  each_of_thread<V>(a.cols, [&](int64_t column) {
    Vector<T, V> part = load_vector<T, V>(static_cast<const T*>(a.x) + at + column);
    if (a.residual) {
      part = added<T, V>(part, load_vector<T, V>(static_cast<const T*>(a.residual) + at + column));
      store_vector<T, V>(static_cast<T*>(a.h) + at + column, part);
    }
    if (keep) keep_vector<T, V>(kept + column, part);
#pragma unroll
    for (int j = 0; j < V; ++j) sum += to_float(part.x[j]);
  });
  const T* h = keep ? kept : static_cast<const T*>(a.residual ? a.h : a.x) + at;
  const float mean = rms ? 0.0f : block_reduce<Add>(sum, scratch) / static_cast<float>(a.cols);
  each_of_thread<V>(a.cols, [&](int64_t column) {
    const Vector<T, V> part = load_vector<T, V>(h + column);
#pragma unroll
    for (int j = 0; j < V; ++j) {
      const float d = to_float(part.x[j]) - mean;
      if (!rms) deviations += d;
      squares = fmaf(d, d, squares);
    }
  });
  if (!rms) deviations = block_reduce<Add>(deviations, scratch);
  squares = block_reduce<Add>(squares, scratch);
  const RowScale s = finish_row<rms>(a, row, mean, deviations, squares, threadIdx.x == 0);
  each_of_thread<V>(a.cols, [&](int64_t column) {
    const Vector<T, V> part = load_vector<T, V>(h + column);
    float v[V];
#pragma unroll
    for (int j = 0; j < V; ++j) v[j] = to_float(part.x[j]);
    store_vector<T, V>(static_cast<T*>(a.y) + at + column, scaled<T, V>(a, v, s, column));
  });
}

template <class T, bool rms>
void norm_as(const NormArgs& a) {
  const bool aligned = rows_aligned<T>(a.cols, a.x, a.residual, a.w, a.b, a.h, a.y);
  if (a.cols <= warp_cols(aligned)) {
    dispatch_warp_row<T>(a.cols, aligned, [&](auto v, auto n) {
      launch("norm_warp", norm_warp<T, rms, v(), n()>, warp_row_blocks(a.rows), 32 * kRowWarps, 0, a);
    });
  } else {
    const size_t shared = row_in_shared(static_cast<size_t>(a.cols) * sizeof(T));
    dispatch_block_row<T>(aligned, [&](auto v) {
      launch("norm_block", norm_block<T, rms, v()>, static_cast<unsigned>(a.rows), row_threads(a.cols, v()), shared, a, shared > 0);
    });
  }
}

}  // namespace

void norm(const NormArgs& a) {
  if (a.rows == 0 || a.cols == 0) return;
  dispatch_float(a.type, [&](auto type) {
    using T = decltype(type);
    a.rms ? norm_as<T, true>(a) : norm_as<T, false>(a);
  });
}

}  // namespace heddle::cuda
