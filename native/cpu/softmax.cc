// Softmax and log-softmax over rows.
#include "cpu/kernels.h"
#include "cpu/output.h"
#include "cpu/rows.h"

namespace heddle::cpu::HEDDLE_ISA {
namespace {

// The sum of e^(x - max), and e^(x - max) itself in y when y is given. Rows of -inf alone become NaN through inf - inf.
HEDDLE_ROW_KERNEL double exp_sum(bool past, const float* x, int64_t cols, float max, float* y) {
  const vf m = splat(max);
  return sum_of(cols, [&](int64_t i, int n) {
    if (past) fetch(next_row(x + i, cols));
    const vf e = exp_negative(load_n(x + i, n) - m);
    if (y) store_n(y + i, e, n);
    return first_n(e, n);
  });
}

void softmax_row(bool past, const float* x, float* y, int64_t cols) {
  const float max = row_max(x, cols);
  float* const e = past ? pool_scratch(0, static_cast<size_t>(cols)) : y;
  const vf scale = splat(static_cast<float>(1 / exp_sum(past, x, cols, max, e)));
  write_vectors(past, y, cols, [&](int64_t i, int n) { return load_n(e + i, n) * scale; });
}

void log_softmax_row(bool past, const float* x, float* y, int64_t cols) {
  const float max = row_max(x, cols);
  const vf m = splat(max), log_sum = splat(static_cast<float>(__builtin_log(exp_sum(past, x, cols, max, nullptr))));
  write_vectors(past, y, cols, [&](int64_t i, int n) { return load_n(x + i, n) - m - log_sum; });
}

// softmax: dx = y * (dy - sum(y * dy)); log-softmax: dx = dy - e^y * sum(dy)
template <bool log>
HEDDLE_ROW_KERNEL void backward_row(bool past, const float* y, const float* dy, float* dx, int64_t cols, bool accumulate) {
  const double sum = sum_of(cols, [&](int64_t i, int n) {
    const vf up = load_n(dy + i, n);
    return log ? up : load_n(y + i, n) * up;
  });
  const vf total = splat(static_cast<float>(sum));
  const auto gradient = [&](int64_t i, int n) {
    const vf out = load_n(y + i, n), up = load_n(dy + i, n);
    const vf v = log ? fma(-exp(out), total, up) : out * (up - total);
    return accumulate ? load_n(dx + i, n) + v : v;
  };
  write_vectors(past, dx, cols, gradient, next_row(y, cols), next_row(dy, cols));
}

}  // namespace

void softmax(const SoftmaxArgs& a) {
  if (a.cols == 0) return;
  const bool past = a.x != a.y && past_caches(a.rows * a.cols * 4);
  parallel_range(a.rows, rows_per_item(a.cols * kExpCost), [&](int64_t low, int64_t high) {
    for (int64_t row = low; row < high; ++row) {
      const int64_t at = row * a.cols;
      if (a.log)
        log_softmax_row(past, f32(a.x) + at, f32(a.y) + at, a.cols);
      else
        softmax_row(past, f32(a.x) + at, f32(a.y) + at, a.cols);
    }
  });
}

void softmax_backward(const SoftmaxBackwardArgs& a) {
  const bool past = !a.accumulate && a.dx != a.y && a.dx != a.dy && past_caches(a.rows * a.cols * 4);
  parallel_range(a.rows, rows_per_item(a.cols * kExpCost), [&](int64_t low, int64_t high) {
    for (int64_t row = low; row < high; ++row) {
      const int64_t at = row * a.cols;
      if (a.log)
        backward_row<true>(past, f32(a.y) + at, f32(a.dy) + at, f32(a.dx) + at, a.cols, a.accumulate);
      else
        backward_row<false>(past, f32(a.y) + at, f32(a.dy) + at, f32(a.dx) + at, a.cols, a.accumulate);
    }
  });
}

}  // namespace heddle::cpu::HEDDLE_ISA
