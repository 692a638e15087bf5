// Cross-entropy over rows of logits. Two passes: one for the greatest logit and the sum of exponentials, one that writes the
// gradient, also over the logits themselves.
#include "core/error.h"
#include "cpu/kernels.h"
#include "cpu/output.h"
#include "cpu/rows.h"

namespace heddle::cpu::HEDDLE_ISA {
namespace {

constexpr int64_t kBlock = 2048;  // stays in the L1 cache between the search for its maximum and the exponentials

double exp_one(float x) { return exp(splat(x))[0]; }

// The sum over i of e^(x[i] - shift), and of x[i] where `plain` is given.
HEDDLE_ROW_KERNEL double exp_sum(const float* x, int64_t size, float shift, double* plain) {
  Partials sum, all;
  const vf m = splat(shift);
  each_partial(size, [&](int64_t i, int j, int n) {
    fetch(next_row(x + i, kBlock));
    const vf v = load_n(x + i, n);
    sum.add(j, first_n(exp(v - m), n));
    if (plain) all.add(j, v);
  });
  if (plain) *plain += all.total_double();
  return sum.total_double();
}

struct RowSums {
  float max;     // what was taken off every logit: the greatest, or 0 where all are -inf
  double exps;   // sum of e^(x - max)
  double plain;  // sum of x, when asked for
};

RowSums row_sums(const float* x, int64_t size, bool with_plain) {
  RowSums s{-__builtin_inff(), 0, 0};
  for (int64_t low = 0; low < size; low += kBlock) {
    const int64_t n = low + kBlock < size ? kBlock : size - low;
    const float max = row_max(x + low, n);
    if (max > s.max) {
      s.exps *= exp_one(s.max - max);  // nothing so far: 0 * e^-inf
      s.max = max;
    }
    s.exps += exp_sum(x + low, n, s.max == -__builtin_inff() ? 0.0f : s.max, with_plain ? &s.plain : nullptr);
  }
  if (s.max == -__builtin_inff()) s.max = 0;
  return s;
}

// d[i] = e^(x[i] - max) * factor - uniform; d may be x.
HEDDLE_ROW_KERNEL void write_gradient(bool past, const float* x, float* d, int64_t size, float max, float factor, float uniform) {
  const vf m = splat(max), f = splat(factor), u = splat(uniform);
  write_vectors(past, d, size, [&](int64_t i, int n) { return exp(load_n(x + i, n) - m) * f - u; }, next_row(x, size));
}

void clear(float* d, int64_t size) {
  for (int64_t i = 0; i < size; ++i) d[i] = 0;
}

void cross_entropy_row(const CrossEntropyArgs& a, int64_t row, bool past) {
  const float* x = f32(a.logits) + row * a.cols;
  float* d = a.dlogits ? f32(a.dlogits) + row * a.cols : nullptr;
  const int32_t target = a.targets[row];
  if (target == a.ignore_index) {
    a.losses[row] = 0;
    if (d) clear(d, a.cols);
    return;
  }
  const double smoothing = a.smoothing, z = a.z_loss, size = static_cast<double>(a.valid);
  const RowSums s = row_sums(x, a.valid, smoothing != 0);
  const float at_target = x[target];
  const double lse = s.max + __builtin_log(s.exps);
  double loss = lse - (1 - smoothing) * at_target;
  if (smoothing != 0) loss -= smoothing * (s.plain / size);
  if (z != 0) loss += z * lse * lse;
  a.losses[row] = static_cast<float>(loss);
  if (!d) return;

  // d loss / d x = (1 + 2 z lse) p - smoothing / V - (1 - smoothing) [target]; at the target in double, where p near 1 cancels.
  const double scale = *a.scale, factor = scale * (z != 0 ? 1 + 2 * z * lse : 1) / s.exps, uniform = scale * smoothing / size;
  const double gradient = exp_one(at_target - s.max) * factor - uniform - scale * (1 - smoothing);
  write_gradient(past, x, d, a.valid, s.max, static_cast<float>(factor), static_cast<float>(uniform));
  d[target] = static_cast<float>(gradient);
  clear(d + a.valid, a.cols - a.valid);
}

// Before anything is written: dlogits may be the logits.
void check_targets(const CrossEntropyArgs& a) {
  for (int64_t row = 0; row < a.rows; ++row) {
    const int32_t t = a.targets[row];
    if (t == a.ignore_index || (t >= 0 && t < a.valid)) continue;
    char message[160];
    __builtin_snprintf(message, sizeof message, "crossEntropy: targets[%lld] must be within [0, %lld) or %d (ignored), got %d",
                       static_cast<long long>(row), static_cast<long long>(a.valid), a.ignore_index, t);
    throw_op_error(message);
  }
}

}  // namespace

void cross_entropy(const CrossEntropyArgs& a) {
  check_targets(a);
  const bool past = a.dlogits && a.dlogits != a.logits && past_caches(a.rows * a.cols * 4);
  parallel_range(a.rows, rows_per_item(a.cols * kExpCost), [&](int64_t low, int64_t high) {
    for (int64_t row = low; row < high; ++row) cross_entropy_row(a, row, past);
  });
}

}  // namespace heddle::cpu::HEDDLE_ISA
