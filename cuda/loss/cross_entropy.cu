// Cross-entropy over rows of logits, a block per row: one pass finds the greatest logit and the sum of exponentials, one writes the
// gradient, also over the logits themselves.
#include "common/exp.cuh"
#include "common/reduce.cuh"
#include "common/row.cuh"
#include "kernels.h"
#include "runtime/launch.cuh"

namespace heddle::cuda {
namespace {

template <class T, int V>
__device__ inline void clear_row(T* d, int64_t cols) {
  each_of_thread<V>(cols, [&](int64_t column) { store_vector<T, V>(d + column, Vector<T, V>{}); });
}

// The row's first `keep` columns are kept in shared memory between the passes, where every thread reads back what it wrote; the others are
// read again, and found in L2.
template <class T, int V>
__global__ void __launch_bounds__(512, 2) cross_entropy_rows(CrossEntropyArgs a, int64_t keep, Fault* fault) {
  extern __shared__ __align__(16) unsigned char shared[];
  __shared__ float scratch[32];
  T* const kept = reinterpret_cast<T*>(shared);
  const int64_t row = blockIdx.x, at = row * a.cols;
  const T* x = static_cast<const T*>(a.logits) + at;
  T* d = a.dlogits ? static_cast<T*>(a.dlogits) + at : nullptr;
  const int32_t target = a.targets[row];
  const bool known = target >= 0 && target < a.valid;
  if (target == a.ignore_index || !known) {
    if (threadIdx.x == 0) {
      a.losses[row] = 0;
      if (target != a.ignore_index) report(fault, FaultKind::target, row, target, a.valid, a.ignore_index);
    }
    if (d) clear_row<T, V>(d, a.cols);
    return;
  }
  const float at_target = to_float(x[target]);  // before the barriers: nobody has written yet
  const float scale = d ? *a.scale : 0.0f;

  ExpSum mine;
  float plain = 0;
  const auto load = [&](int64_t column) { return load_vector<T, V>(x + column); };
  each_loaded<V>(a.valid, load, [&](int64_t column, const Vector<T, V>& part) {
    if (column < keep) keep_vector<T, V>(kept + column, part);
    float v[V];
#pragma unroll
    for (int j = 0; j < V; ++j) {
      v[j] = to_float(part.x[j]);
      if (V > 1 && column + j >= a.valid)
        v[j] = kNegativeInfinity;
      else
        plain += v[j];
    }
    add_exps<T>(mine, v);
  });
  const ExpSum all = block_exps<T>(mine, scratch);
  const bool smooth = a.smoothing != 0;
  if (smooth) plain = block_reduce<Add>(plain, scratch);
  const float size = static_cast<float>(a.valid), max = all.max == kNegativeInfinity ? 0.0f : all.max;
  const float log_sum = logf(all.sum), lse = max + log_sum;
  if (threadIdx.x == 0) {
    // lse - (1 - s) x_t - s mean(x), where max and the logits cancel first
    float loss = (1 - a.smoothing) * (max - at_target) + log_sum;
    if (smooth) loss += a.smoothing * (max - plain / size);
    if (a.z_loss != 0) loss = fmaf(a.z_loss * lse, lse, loss);
    a.losses[row] = loss;
  }
  if (!d) return;

  // d loss / d x = (1 + 2 z lse) p - smoothing / V - (1 - smoothing) [target]
  const float factor = scale * (a.z_loss != 0 ? fmaf(2 * a.z_loss, lse, 1.0f) : 1.0f) / all.sum;
  const float uniform = scale * a.smoothing / size, taken = scale * (1 - a.smoothing);
  __syncthreads();  // every thread has read the target's logit
  const auto again = [&](int64_t column) {
    if (column < keep && column < a.valid) return load_vector<T, V>(kept + column);
    return load_if<V>(column < a.valid, x + column);
  };
  each_loaded<V>(a.cols, again, [&](int64_t column, const Vector<T, V>& part) {
    Vector<T, V> out{};
    if (column < a.valid) {
#pragma unroll
      for (int j = 0; j < V; ++j) {
        float v = fmaf(exp_for<T>(to_float(part.x[j]) - max), factor, -uniform);
        if (column + j == target) v -= taken;
        if (V == 1 || column + j < a.valid) out.x[j] = from_float<T>(v);
      }
    }
    store_vector<T, V>(d + column, out);
  });
}

}  // namespace

void cross_entropy(const CrossEntropyArgs& a) {
  if (a.rows == 0 || a.cols == 0) return;
  dispatch_float(a.type, [&](auto type) {
    using T = decltype(type);
    // Without a gradient there is no second pass.
    const size_t shared = a.dlogits ? row_part_in_shared(static_cast<size_t>(a.cols) * sizeof(T)) : 0;
    const auto keep = static_cast<int64_t>(shared / sizeof(T));
    dispatch_block_row<T>(rows_aligned<T>(a.cols, a.logits, a.dlogits), [&](auto v) {
      launch("cross_entropy", cross_entropy_rows<T, v()>, static_cast<unsigned>(a.rows), row_threads(a.cols, v()), shared, a, keep,
             queue().fault);
    });
  });
}

}  // namespace heddle::cuda
