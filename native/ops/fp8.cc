#include "core/fp8.h"

#include "ops/check.h"
#include "ops/ops.h"

namespace heddle::ops {
namespace {

void require_codes(const Tensor& codes, const char* name, const Tensor& scale, const char* scale_name) {
  require_dtype(codes, name, DType::u8);
  require(codes.dense(), name, "dense", codes);
  require_dtype(scale, scale_name, DType::f32);
  require_shape(scale, scale_name, {1});
  require_same_device(codes, name, scale, scale_name);
}

// The type in which the device makes a result of that one.
DType type_on(const Device* device, DType dtype) {
  require(is_float(dtype), "dtype", "f32, bf16 or f16", dtype);
  return device->computes_half ? dtype : DType::f32;
}

}  // namespace

std::tuple<Tensor, Tensor> fp8_quantize(const Tensor& x, FP8 format) {
  require_float(x, "x");
  require(x.elements() > 0, "x", "of at least one element", x.shape);
  Device* device = x.device();
  const DType type = compute_type(x);
  const Tensor from = dense(x, "x", type);
  Tensor codes = Tensor::empty(device, DType::u8, x.shape), scale = Tensor::empty(device, DType::f32, {1});
  launch(device, device->backend->fp8_quantize,
         FP8QuantizeArgs{type, format, from.data<void>(), codes.data<uint8_t>(), scale.data<float>(), x.elements(), nullptr});
  return {codes, scale};
}

Tensor fp8_dequantize(const Tensor& codes, const Tensor& scale, FP8 format, DType dtype) {
  require_codes(codes, "codes", scale, "scale");
  Device* device = codes.device();
  const DType type = type_on(device, dtype);
  Tensor out = Tensor::empty(device, type, codes.shape);
  if (out.elements())
    launch(device, device->backend->fp8_dequantize,
           FP8DequantizeArgs{type, format, codes.data<uint8_t>(), scale.data<float>(), out.data<void>(), out.elements()});
  return result_as(out, dtype);
}

std::tuple<Tensor, std::optional<Tensor>> fp8_linear(const Tensor& x, const Tensor& x_scale, FP8 x_format, const Tensor& w,
                                                     const Tensor& w_scale, FP8 w_format, const Tensor* bias, const Tensor* residual,
                                                     Activation activation, bool keep_pre, DType dtype) {
  require_codes(x, "x", x_scale, "xScale");
  require_codes(w, "w", w_scale, "wScale");
  require_same_device(x, "x", w, "w");
  require(w.rank() == 2, "w", "(out, in)", w.shape);
  const int64_t in = w.shape[1], out = w.shape[0];
  require(x.rank() >= 1 && x.shape.back() == in, "x", [&] { return "(..., " + std::to_string(in) + ") for w " + text(w.shape); }, x.shape);
  require(in > 0, "w", "of an inner size of at least 1", w.shape);
  Shape shape = x.shape;
  shape.back() = out;
  if (bias) require_shape(*bias, "bias", {out});
  if (residual) require_shape(*residual, "residual", shape);

  Device* device = x.device();
  const DType type = type_on(device, dtype);
  const std::optional<Tensor> b = bias ? std::optional(dense(*bias, "bias", type)) : std::nullopt;
  const std::optional<Tensor> r = residual ? std::optional(dense(*residual, "residual", type)) : std::nullopt;
  Tensor y = Tensor::empty(device, type, shape);
  std::optional<Tensor> pre;
  if (keep_pre) pre = Tensor::empty(device, type, shape);
  if (y.elements()) {
    FP8MatmulArgs args{};
    args.type = args.c_type = type;
    args.precision = Precision::full;
    args.a = x.data<void>();
    args.b = w.data<void>();
    args.c = y.data<void>();
    args.M = y.elements() / out;
    args.N = out;
    args.K = args.a_m = args.b_n = in;
    args.a_k = args.b_k = 1;
    args.c_m = out;
    args.batch[0] = args.batch[1] = 1;
    args.bias = b ? b->data<void>() : nullptr;
    args.pre = pre ? pre->data<void>() : nullptr;
    args.residual = r ? r->data<void>() : nullptr;
    args.activation = activation;
    args.a_scale = x_scale.data<float>();
    args.b_scale = w_scale.data<float>();
    args.a_format = x_format;
    args.b_format = w_format;
    launch(device, device->backend->fp8_matmul, args);
  }
  if (pre) pre = result_as(*pre, dtype);
  return {result_as(y, dtype), pre};
}

}  // namespace heddle::ops
