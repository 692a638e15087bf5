#include "core/tensor.h"

#include "core/error.h"

namespace heddle {

thread_local const char* current_op = "tensor";

Storage::Storage(Device* d, size_t n, const char* op) : device(d), bytes(n), data(d->memory->allocate(n, op)) {}
Storage::~Storage() { device->memory->free(data); }

std::string text(const Shape& s) {
  std::string r = "(";
  for (size_t i = 0; i < s.size(); ++i) r += (i ? ", " : "") + std::to_string(s[i]);
  return r + ")";
}

std::string text(const Tensor& t) { return std::string(name_of(t.dtype)) + " " + text(t.shape); }

Shape dense_strides(const Shape& s) {
  Shape stride(s.size());
  int64_t n = 1;
  for (size_t i = s.size(); i-- > 0;) {
    stride[i] = n;
    n *= s[i];
  }
  return stride;
}

Tensor Tensor::empty(Device* device, DType dtype, const Shape& shape) {
  if (shape.size() > kMaxRank)
    throw OpError(std::string(current_op) + ": shape must have at most " + std::to_string(kMaxRank) + " dimensions, got " + text(shape));
  int64_t n = 1;
  for (const int64_t d : shape) {
    if (d < 0) throw OpError(std::string(current_op) + ": shape must have no negative dimension, got " + text(shape));
    if (__builtin_mul_overflow(n, d, &n) || n > (int64_t{1} << 46))
      throw OpError(std::string(current_op) + ": shape " + text(shape) + " has too many elements");
  }
  Tensor t;
  t.storage = std::make_shared<Storage>(device, static_cast<size_t>(n) * size_of(dtype), current_op);
  t.dtype = dtype;
  t.shape = shape;
  t.stride = dense_strides(shape);
  return t;
}

int64_t Tensor::elements() const {
  int64_t n = 1;
  for (const int64_t d : shape) n *= d;
  return n;
}

bool Tensor::dense() const {
  int64_t n = 1;
  for (size_t i = shape.size(); i-- > 0;) {
    if (shape[i] != 1 && stride[i] != n) return elements() == 0;
    n *= shape[i];
  }
  return true;
}

View Tensor::view() const {
  View v{};
  v.data = data<char>();
  v.dtype = dtype;
  v.rank = static_cast<int32_t>(rank());
  for (int i = 0; i < v.rank; ++i) {
    v.shape[i] = shape[i];
    v.stride[i] = stride[i];
  }
  return v;
}

}  // namespace heddle
