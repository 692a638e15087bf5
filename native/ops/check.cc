#include "ops/check.h"

#include <algorithm>

namespace heddle {

void fail(const std::string& message, ErrorCode code) { throw OpError(std::string(current_op) + ": " + message, code); }

void require_shape(const Tensor& t, const char* argument, const Shape& shape) { require(t.shape == shape, argument, shape, t.shape); }

void require_float(const Tensor& t, const char* argument) { require(is_float(t.dtype), argument, "f32, bf16 or f16", t.dtype); }

void require_dtype(const Tensor& t, const char* argument, DType dtype) { require(t.dtype == dtype, argument, dtype, t.dtype); }

void require_not_capturing(const Device& device) {
  if (device.stream->recording())
    fail("not while ops are captured on " + device.name + ": what it waits for, or copies from the host, has its place before or after",
         ErrorCode::capturing);
}

void require_same_device(const Tensor& a, const char* a_name, const Tensor& b, const char* b_name) {
  if (a.device() != b.device())
    fail(std::string(a_name) + " and " + b_name + " must be on one device, got " + a.device()->name + " and " + b.device()->name);
}

int64_t dimension(int64_t dim, const Tensor& t, const char* argument) {
  const int64_t rank = t.rank();
  require(dim >= -rank && dim < rank, argument, [&] { return "a dimension of " + text(t.shape); }, dim);
  return dim < 0 ? dim + rank : dim;
}

Shape broadcast(const Shape& a, const Shape& b) {
  Shape out(std::max(a.size(), b.size()));
  for (size_t i = 0; i < out.size(); ++i) {
    const size_t from_end = out.size() - i;
    const int64_t x = from_end > a.size() ? 1 : a[a.size() - from_end], y = from_end > b.size() ? 1 : b[b.size() - from_end];
    if (x != y && x != 1 && y != 1) fail("shapes must broadcast, got " + text(a) + " and " + text(b));
    out[i] = x == 1 ? y : x;
  }
  return out;
}

uint64_t seed_of(double seed) {
  require(seed >= 0 && seed <= 9007199254740991.0 && seed == static_cast<double>(static_cast<uint64_t>(seed)), "seed",
          "an integer from 0 to 2^53 - 1", seed);
  return static_cast<uint64_t>(seed);
}

void enqueue_copy(const Tensor& dst, const Tensor& src) {
  if (dst.elements()) launch(dst.device(), dst.device()->backend->copy, CopyArgs{src.view(), dst.view()});
}

Tensor copy_of(const Tensor& t, DType dtype) {
  Tensor out = Tensor::empty(t.device(), dtype, t.shape);
  enqueue_copy(out, t);
  return out;
}

DType compute_type(const Tensor& t) { return t.device()->computes_half && is_float(t.dtype) ? t.dtype : DType::f32; }

DType compute_type(std::initializer_list<const Tensor*> tensors) {
  const Tensor* first = nullptr;
  for (const Tensor* t : tensors) {
    if (!t) continue;
    if (!first) first = t;
    if (t->dtype != first->dtype) return DType::f32;
  }
  return first ? compute_type(*first) : DType::f32;
}

Tensor dense(const Tensor& t, const char* argument, DType type) {
  require_float(t, argument);
  return t.dtype == type && t.dense() ? t : copy_of(t, type);
}

Tensor dense_i32(const Tensor& t, const char* argument) {
  require(t.dtype == DType::i32 || t.dtype == DType::u8, argument, "i32 or u8", t.dtype);
  return t.dtype == DType::i32 && t.dense() ? t : copy_of(t, DType::i32);
}

Tensor dense_rows(const Tensor& t, const char* argument, DType type) {
  require_float(t, argument);
  const bool fits = t.dtype == type && (t.rank() == 0 || t.shape.back() == 1 || t.stride.back() == 1);
  return fits ? t : copy_of(t, type);
}

Tensor reshaped(const Tensor& t, const Shape& shape) {
  Tensor r = t;
  r.shape = shape;
  r.stride = dense_strides(shape);
  return r;
}

Tensor result_as(const Tensor& t, DType dtype) { return t.dtype == dtype ? t : copy_of(t, dtype); }

Output::Output(const Tensor& wanted, const char* argument, const Shape& shape, bool accumulate, DType type)
    : wanted_(wanted), target_(wanted), direct_(wanted.dtype == type && wanted.dense()), accumulate_(accumulate) {
  require_float(wanted, argument);
  require_shape(wanted, argument, shape);
  if (!direct_) target_ = Tensor::empty(wanted.device(), type, shape);
}

void Output::finish() const {
  if (direct_ || !wanted_.elements()) return;
  Tensor result = target_;
  if (accumulate_) {  // the sum is rounded once, to the caller's type
    const Tensor before = copy_of(wanted_, DType::f32);
    result = result_as(target_, DType::f32);
    launch(wanted_.device(), wanted_.device()->backend->binary,
           BinaryArgs{Binary::add, before.view(), result.view(), result.view(), false});
  }
  enqueue_copy(wanted_, result);
}

}  // namespace heddle
