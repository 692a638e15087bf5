#include <algorithm>

#include "ops/check.h"
#include "ops/ops.h"

namespace heddle::ops {
namespace {

RopeScaling scaling_of(double factor, double low, double high, double context) {
  require(factor > 0, "factor", "positive", factor);
  require(context >= 0, "context", "at least 0", context);
  if (context == 0) return {1 / factor, 0, 0, 0, 0};
  require(low >= 0, "low", "at least 0", low);
  require(high > low, "high", [&] { return "above low, which is " + std::to_string(low); }, high);
  return {1 / factor, context / 6.283185307179586, low, high, 1 / (high - low)};
}

void turn(const Tensor& x, const Tensor* positions, int64_t first, double theta, int64_t rotary, bool interleaved,
          const RopeScaling& scaling, bool inverse, const Tensor& y, bool accumulate) {
  require(x.rank() == 4, "x", "(B, T, H, D)", x.shape);
  const int64_t B = x.shape[0], T = x.shape[1], H = x.shape[2], D = x.shape[3];
  if (rotary == 0) rotary = D;
  require(
      rotary > 0 && rotary <= D && rotary % 2 == 0, "rotary", [&] { return "an even number up to the head size " + std::to_string(D); },
      rotary);
  require(theta > 0, "theta", "positive", theta);
  std::optional<Tensor> pos;
  if (positions) {
    require_shape(*positions, "positions", {B, T});
    pos = dense_i32(*positions, "positions");
  }
  const DType type = compute_type(x);
  const Tensor in = dense_rows(x, "x", type);
  const bool direct = y.dtype == type && (D == 1 || y.stride[3] == 1);
  std::optional<Output> beside;
  if (!direct) beside.emplace(y, "dx", x.shape, accumulate, type);
  const Tensor& to = direct ? y : beside->tensor();
  if (!x.elements()) return;
  RopeArgs args{type,
                in.data<void>(),
                to.data<void>(),
                B,
                T,
                H,
                D,
                rotary,
                {},
                {},
                pos ? pos->data<int32_t>() : nullptr,
                first,
                static_cast<float>(theta),
                interleaved,
                inverse,
                direct ? accumulate : beside->accumulate(),
                scaling};
  std::copy_n(in.stride.begin(), 3, args.x_stride);
  std::copy_n(to.stride.begin(), 3, args.y_stride);
  launch(x.device(), x.device()->backend->rope, args);
  if (beside) beside->finish();
}

}  // namespace

Tensor rope(const Tensor& x, const Tensor* positions, int64_t first, double theta, int64_t rotary, bool interleaved, double factor,
            double low, double high, double context) {
  const RopeScaling scaling = scaling_of(factor, low, high, context);
  Tensor y = Tensor::empty(x.device(), x.dtype, x.shape);
  turn(x, positions, first, theta, rotary, interleaved, scaling, false, y, false);
  return y;
}

void rope_backward(const Tensor& dy, const Tensor* positions, int64_t first, double theta, int64_t rotary, bool interleaved, double factor,
                   double low, double high, double context, const Tensor& dx, bool accumulate) {
  require_shape(dx, "dx", dy.shape);
  turn(dy, positions, first, theta, rotary, interleaved, scaling_of(factor, low, high, context), true, dx, accumulate);
}

}  // namespace heddle::ops
