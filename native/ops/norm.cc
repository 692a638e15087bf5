#include "ops/check.h"
#include "ops/ops.h"

namespace heddle::ops {
namespace {

void* pointer(const std::optional<Tensor>& t) { return t ? t->data<void>() : nullptr; }

std::optional<Tensor> vector_of(const Tensor* t, const char* argument, int64_t C, DType type) {
  if (!t) return std::nullopt;
  require_shape(*t, argument, {C});
  return dense(*t, argument, type);
}

}  // namespace

std::tuple<Tensor, Tensor, std::optional<Tensor>, Tensor> norm(const Tensor& x, const Tensor* residual, const Tensor* w, const Tensor* b,
                                                               bool rms, double eps) {
  current_op = rms ? "rmsNorm" : "layerNorm";
  require(x.rank() >= 1 && x.shape.back() > 0, "x", "(..., C) with C of at least 1", x.shape);
  require(eps >= 0, "eps", "at least 0", eps);
  const int64_t C = x.shape.back(), rows = x.elements() / C;
  const DType type = compute_type({&x, residual, w, b});
  const auto weight = vector_of(w, "w", C, type), bias = vector_of(b, "b", C, type);
  const Tensor in = dense(x, "x", type);
  std::optional<Tensor> other, sum;
  if (residual) {
    require_shape(*residual, "residual", x.shape);
    other = dense(*residual, "residual", type);
    sum = Tensor::empty(x.device(), type, x.shape);
  }
  const Shape lead(x.shape.begin(), x.shape.end() - 1);
  Tensor y = Tensor::empty(x.device(), type, x.shape), rstd = Tensor::empty(x.device(), DType::f32, lead);
  std::optional<Tensor> mean;
  if (!rms) mean = Tensor::empty(x.device(), DType::f32, lead);
  if (rows)
    launch(x.device(), x.device()->backend->norm,
           NormArgs{rms, type, in.data<void>(), pointer(other), pointer(weight), pointer(bias), pointer(sum), y.data<void>(),
                    mean ? mean->data<float>() : nullptr, rstd.data<float>(), rows, C, static_cast<float>(eps)});
  return {sum ? result_as(*sum, x.dtype) : x, result_as(y, x.dtype), mean, rstd};
}

void norm_backward(const Tensor& h, const Tensor* w, const Tensor* mean, const Tensor& rstd, const Tensor& dy, bool rms, const Tensor* dx,
                   bool accumulate_dx, const Tensor* dw, bool accumulate_dw, const Tensor* db, bool accumulate_db) {
  const int64_t C = h.shape.back(), rows = h.elements() / C;
  require_shape(dy, "dy", h.shape);
  require(rms == !mean, "mean", rms ? "absent for rms" : "given", mean ? "a tensor" : "none");
  const DType type = compute_type({&h, w, &dy});
  const auto weight = vector_of(w, "w", C, type);
  const Tensor in = dense(h, "h", type), grad = dense(dy, "dy", type);
  std::optional<Output> to_x, to_w, to_b;
  if (dx) to_x.emplace(*dx, "dx", h.shape, accumulate_dx, type);
  if (dw) to_w.emplace(*dw, "dw", Shape{C}, accumulate_dw, DType::f32);
  if (db) to_b.emplace(*db, "db", Shape{C}, accumulate_db, DType::f32);
  if (!rows) {
    if (dw && !accumulate_dw) fill(*dw, 0);
    if (db && !accumulate_db) fill(*db, 0);
    return;
  }
  const auto out = [](const std::optional<Output>& o) { return o ? o->f32() : nullptr; };
  const auto adds = [](const std::optional<Output>& o) { return o && o->accumulate(); };
  launch(h.device(), h.device()->backend->norm_backward,
         NormBackwardArgs{rms, type, in.data<void>(), pointer(weight), grad.data<void>(), mean ? mean->data<float>() : nullptr,
                          rstd.data<float>(), to_x ? to_x->data() : nullptr, out(to_w), out(to_b), rows, C, adds(to_x), adds(to_w),
                          adds(to_b), nullptr});
  for (const auto* o : {&to_x, &to_w, &to_b})
    if (*o) (*o)->finish();
}

}  // namespace heddle::ops
