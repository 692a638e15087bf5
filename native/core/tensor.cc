#include "core/tensor.h"

#include "core/error.h"

namespace heddle {

thread_local const char* current_op = "tensor";

namespace {

// Canaries are bytes of 255, and so is a fresh tensor: NaN in every float type, -1 as a number.
constexpr size_t kGuard = 256;

void poison(Device* device, char* from, size_t bytes) {
  View view{};
  view.data = from;
  view.dtype = DType::u8;
  view.rank = 1;
  view.shape[0] = static_cast<int64_t>(bytes);
  view.stride[0] = 1;
  device->stream->enqueue("poison", [run = device->backend->fill.run, args = FillArgs{view, 255}] { run(args); });
}

void check_canaries(Device* device, const char* data, size_t bytes, const char* op) {
  device->stream->enqueue(op, [copy = device->copy_out, data, bytes, op] {
    unsigned char canaries[2 * kGuard];
    copy(canaries, data - kGuard, kGuard);
    copy(canaries + kGuard, data + bytes, kGuard);
    for (size_t i = 0; i < sizeof canaries; ++i) {
      if (canaries[i] == 255) continue;
      const auto at = static_cast<int64_t>(i) - static_cast<int64_t>(kGuard) + static_cast<int64_t>(i < kGuard ? 0 : bytes);
      throw OpError(std::string(op) + ": byte " + std::to_string(at) + " was written, outside of its " + std::to_string(bytes) + " bytes",
                    ErrorCode::internal);
    }
  });
}

}  // namespace

Storage::Storage(Device* d, size_t n, const char* by, Placement placement)
    : device(d),
      memory(placement == Placement::host && d->host_memory ? d->host_memory.get() : d->memory.get()),
      bytes(n),
      op(by),
      guard(d->guarded ? kGuard : 0) {
  char* whole = static_cast<char*>(memory->allocate(n + 2 * guard, by));
  data = whole + guard;
  if (guard) poison(d, whole, n + 2 * guard);
}

Storage::~Storage() {
  if (guard) check_canaries(device, static_cast<char*>(data), bytes, op);
  memory->free(static_cast<char*>(data) - guard);
}

std::string too_many_dimensions(size_t rank) {
  return std::string(current_op) + ": a tensor has at most " + std::to_string(kMaxRank) + " dimensions, got " + std::to_string(rank);
}

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

Tensor Tensor::empty(Device* device, DType dtype, const Shape& shape, Placement placement) {
  int64_t n = 1;
  for (const int64_t d : shape) {
    if (d < 0) throw OpError(std::string(current_op) + ": shape must have no negative dimension, got " + text(shape));
    if (__builtin_mul_overflow(n, d, &n) || n > (int64_t{1} << 46))
      throw OpError(std::string(current_op) + ": shape " + text(shape) + " has too many elements");
  }
  Tensor t;
  t.storage = std::make_shared<Storage>(device, static_cast<size_t>(n) * size_of(dtype), current_op, placement);
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
