// Softmax and log-softmax over rows.
#include "cpu/kernels.h"
#include "cpu/rows.h"

namespace heddle::cpu::HEDDLE_ISA {
namespace {

// The sum of e^(x - max), and e^(x - max) itself in y when y is given. Rows of -inf alone become NaN through inf - inf.
HEDDLE_ROW_KERNEL double exp_sum(const float* x, int64_t cols, float max, float* y) {
  const vf m = splat(max);
  return sum_of(cols, [&](int64_t i, int n) {
    const vf e = exp(load_n(x + i, n) - m);
    if (y) store_n(y + i, e, n);
    return first_n(e, n);
  });
}

void softmax_row(const float* x, float* y, int64_t cols) {
  const float max = row_max(x, cols);
  const vf scale = splat(static_cast<float>(1 / exp_sum(x, cols, max, y)));
  each_vector(cols, [&](int64_t i, int n) { store_n(y + i, load_n(y + i, n) * scale, n); });
}

void log_softmax_row(const float* x, float* y, int64_t cols) {
  const float max = row_max(x, cols);
  const vf m = splat(max), log_sum = splat(static_cast<float>(__builtin_log(exp_sum(x, cols, max, nullptr))));
  each_vector(cols, [&](int64_t i, int n) { store_n(y + i, load_n(x + i, n) - m - log_sum, n); });
}

// softmax: dx = y * (dy - sum(y * dy)); log-softmax: dx = dy - e^y * sum(dy)
template <bool log>
HEDDLE_ROW_KERNEL void backward_row(const float* y, const float* dy, float* dx, int64_t cols, bool accumulate) {
  const double sum = sum_of(cols, [&](int64_t i, int n) {
    const vf up = load_n(dy + i, n);
    return log ? up : load_n(y + i, n) * up;
  });
  const vf total = splat(static_cast<float>(sum));
  each_vector(cols, [&](int64_t i, int n) {
    const vf out = load_n(y + i, n), up = load_n(dy + i, n);
    const vf v = log ? fma(-exp(out), total, up) : out * (up - total);
    store_n(dx + i, accumulate ? load_n(dx + i, n) + v : v, n);
  });
}

}  // namespace

void softmax(const SoftmaxArgs& a) {
  if (a.cols == 0) return;
  parallel_range(a.rows, rows_per_item(a.cols * kExpCost), [&](int64_t low, int64_t high) {
    for (int64_t row = low; row < high; ++row) {
      const int64_t at = row * a.cols;
      if (a.log)
        log_softmax_row(f32(a.x) + at, f32(a.y) + at, a.cols);
      else
        softmax_row(f32(a.x) + at, f32(a.y) + at, a.cols);
    }
  });
}

void softmax_backward(const SoftmaxBackwardArgs& a) {
  parallel_range(a.rows, rows_per_item(a.cols * kExpCost), [&](int64_t low, int64_t high) {
    for (int64_t row = low; row < high; ++row) {
      const int64_t at = row * a.cols;
      if (a.log)
        backward_row<true>(f32(a.y) + at, f32(a.dy) + at, f32(a.dx) + at, a.cols, a.accumulate);
      else
        backward_row<false>(f32(a.y) + at, f32(a.dy) + at, f32(a.dx) + at, a.cols, a.accumulate);
    }
  });
}

}  // namespace heddle::cpu::HEDDLE_ISA
