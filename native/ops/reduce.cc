#include "ops/check.h"
#include "ops/names.h"
#include "ops/ops.h"

namespace heddle::ops {
namespace {

// x with the dimensions that stay in front of those that go.
Tensor reduced_last(const Tensor& x, const std::vector<bool>& gone, Shape* kept) {
  Shape order;
  for (int pass = 0; pass < 2; ++pass)
    for (int64_t i = 0; i < x.rank(); ++i)
      if (gone[i] == (pass == 1)) {
        order.push_back(i);
        if (pass == 0) kept->push_back(x.shape[i]);
      }
  return permute(x, order);
}

}  // namespace

Tensor reduce(const Tensor& x, Reduce kind, const Shape& dims, bool keep_dims) {
  current_op = text_of(kind);
  std::vector<bool> gone(x.shape.size(), dims.empty());
  for (const int64_t d : dims) gone[dimension(d, x, "dims")] = true;
  const bool index = kind == Reduce::argmax || kind == Reduce::argmin;
  const Tensor in = result_as(x, compute_type(x));
  Shape kept, shape;
  const Tensor ordered = reduced_last(in, gone, &kept);
  int64_t n = 1;
  for (int64_t i = 0; i < x.rank(); ++i) {
    if (gone[i]) n *= x.shape[i];
    if (!gone[i] || keep_dims) shape.push_back(gone[i] ? 1 : x.shape[i]);
  }
  require(n > 0 || kind == Reduce::sum, "x", "non-empty in the reduced dimensions", x.shape);
  Tensor out = Tensor::empty(x.device(), index ? DType::i32 : DType::f32, shape);
  if (n == 0) {
    fill(out, 0);
  } else if (out.elements()) {
    launch(x.device(), x.device()->backend->reduce,
           ReduceArgs{kind, ordered.view(), static_cast<int32_t>(kept.size()), out.data<void>(), false, nullptr});
  }
  return index || !is_float(x.dtype) ? out : result_as(out, x.dtype);
}

void sum_into(const Tensor& x, const Tensor& out, bool accumulate) {
  require(broadcast(x.shape, out.shape) == x.shape, "out", [&] { return "of a shape that broadcasts to " + text(x.shape); }, out.shape);
  const Output to(out, "out", out.shape, accumulate, DType::f32);
  const Tensor in = result_as(x, compute_type(x));
  if (!out.elements()) return;
  if (!x.elements()) {
    if (!accumulate) fill(out, 0);
    return;
  }
  // Bias gradients: all but the last dimension of a dense x.
  if (in.dense() && out.rank() >= 1 && out.elements() == x.shape.back() && out.shape.back() == x.shape.back()) {
    launch(x.device(), x.device()->backend->column_sum,
           ColumnSumArgs{in.dtype, in.data<void>(), to.f32(), x.elements() / x.shape.back(), x.shape.back(), to.accumulate(), nullptr});
  } else {
    const int64_t lead = x.rank() - out.rank();
    std::vector<bool> gone(x.shape.size(), false);
    for (int64_t i = 0; i < x.rank(); ++i) gone[i] = i < lead || (out.shape[i - lead] == 1 && x.shape[i] != 1);
    Shape kept;
    const Tensor ordered = reduced_last(in, gone, &kept);
    launch(x.device(), x.device()->backend->reduce,
           ReduceArgs{Reduce::sum, ordered.view(), static_cast<int32_t>(kept.size()), to.data(), to.accumulate(), nullptr});
  }
  to.finish();
}

Tensor softmax(const Tensor& x, bool log) {
  current_op = log ? "logSoftmax" : "softmax";
  require(x.rank() >= 1, "x", "of at least one dimension", x.shape);
  const DType type = compute_type(x);
  const Tensor in = dense(x, "x", type);
  Tensor y = Tensor::empty(x.device(), type, x.shape);
  if (y.elements())
    launch(x.device(), x.device()->backend->softmax,
           SoftmaxArgs{type, in.data<void>(), y.data<void>(), x.elements() / x.shape.back(), x.shape.back(), log});
  return result_as(y, x.dtype);
}

void softmax_backward(const Tensor& y, const Tensor& dy, bool log, const Tensor& dx, bool accumulate) {
  require_shape(dy, "dy", y.shape);
  const DType type = compute_type({&y, &dy});
  const Tensor out = dense(y, "y", type), grad = dense(dy, "dy", type);
  const Output to(dx, "dx", y.shape, accumulate, type);
  if (!y.elements()) return;
  launch(y.device(), y.device()->backend->softmax_backward,
         SoftmaxBackwardArgs{type, out.data<void>(), grad.data<void>(), to.data(), y.elements() / y.shape.back(), y.shape.back(), log,
                             to.accumulate()});
  to.finish();
}

}  // namespace heddle::ops
