#include "core/nf4.h"

#include "ops/check.h"
#include "ops/ops.h"

namespace heddle::ops {
namespace {

int64_t pieces(int64_t n, int64_t size) { return (n + size - 1) / size; }

// A part of a quantised matrix: `count` elements, dense.
void require_part(const Tensor& t, const char* argument, DType dtype, int64_t count) {
  require_dtype(t, argument, dtype);
  require(t.dense() && t.shape == Shape{count}, argument, [&] { return "dense and " + text(Shape{count}); }, t);
}

}  // namespace

std::tuple<Tensor, Tensor, Tensor, Tensor> nf4_quantize(const Tensor& w) {
  const int64_t n = w.elements(), blocks = pieces(n, kNF4Block);
  require(n > 0, "w", "of at least one element", w.shape);
  const Tensor from = dense(w, "w", DType::f32);
  Device* device = w.device();
  Tensor codes = Tensor::empty(device, DType::u8, {pieces(n, 2)}), scales = Tensor::empty(device, DType::u8, {blocks});
  Tensor ranges = Tensor::empty(device, DType::f32, {pieces(blocks, kNF4Group)}), mean = Tensor::empty(device, DType::f32, {1});
  launch(device, device->backend->nf4_quantize,
         NF4QuantizeArgs{from.data<float>(), codes.data<uint8_t>(), scales.data<uint8_t>(), ranges.data<float>(), mean.data<float>(), n,
                         nullptr});
  return {codes, scales, ranges, mean};
}

Tensor nf4_dequantize(const Tensor& codes, const Tensor& scales, const Tensor& ranges, const Tensor& mean, const Shape& shape,
                      DType dtype) {
  require(is_float(dtype), "dtype", "f32, bf16 or f16", dtype);
  int64_t n = 1;
  for (const int64_t size : shape) {
    require(size > 0 && size <= INT64_MAX / 8 / n, "shape", "of positive sizes", shape);
    n *= size;
  }
  const int64_t blocks = pieces(n, kNF4Block);
  require_part(codes, "codes", DType::u8, pieces(n, 2));
  require_part(scales, "scales", DType::u8, blocks);
  require_part(ranges, "ranges", DType::f32, pieces(blocks, kNF4Group));
  require_part(mean, "mean", DType::f32, 1);
  require_same_device(codes, "codes", scales, "scales");
  require_same_device(codes, "codes", ranges, "ranges");
  require_same_device(codes, "codes", mean, "mean");
  Device* device = codes.device();
  const DType type = device->computes_half ? dtype : DType::f32;
  Tensor out = Tensor::empty(device, type, shape);
  launch(device, device->backend->nf4_dequantize,
         NF4DequantizeArgs{type, codes.data<uint8_t>(), scales.data<uint8_t>(), ranges.data<float>(), mean.data<float>(), out.data<void>(),
                           n});
  return result_as(out, dtype);
}

}  // namespace heddle::ops
