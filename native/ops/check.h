#pragma once
// What every op needs: checks that name the op, the argument and what came; operands in the type and layout that a kernel
// takes; outputs in the type that the caller expects; the launch.
#include <string>
#include <type_traits>

#include "core/error.h"
#include "core/tensor.h"

namespace heddle {

// Throws "<op>: <message>".
[[noreturn]] void fail(const std::string& message, ErrorCode code = ErrorCode::invalid_argument);

inline void require(bool ok, const char* argument, const std::string& expected, const std::string& got) {
  if (!ok) fail(std::string(argument) + " must be " + expected + ", got " + got);
}
inline void require(bool ok, const char* argument, const std::string& expected, const Tensor& got) {
  if (!ok) require(ok, argument, expected, text(got));
}

void require_shape(const Tensor& t, const char* argument, const Shape& shape);
void require_float(const Tensor& t, const char* argument);
void require_dtype(const Tensor& t, const char* argument, DType dtype);
void require_same_device(const Tensor& a, const char* a_name, const Tensor& b, const char* b_name);

// A dimension given by the user: -1 is the last. `extra` allows one past the end.
int64_t dimension(int64_t dim, const Tensor& t, const char* argument);
Shape broadcast(const Shape& a, const Shape& b);  // NumPy's rule; throws naming both shapes

// What a dense f32 kernel reads: t itself where it fits, otherwise a copy (the CPU computes in f32 whatever the storage).
Tensor dense_f32(const Tensor& t, const char* argument);
Tensor dense_i32(const Tensor& t, const char* argument);  // ids, indices: i32 (or u8), dense
// f32 with a dense last dimension, other strides free.
Tensor rows_f32(const Tensor& t, const char* argument);

Tensor copy_of(const Tensor& t, DType dtype);  // dense
void enqueue_copy(const Tensor& dst, const Tensor& src);
Tensor reshaped(const Tensor& t, const Shape& shape);  // t must be dense
Tensor result_as(const Tensor& f32, DType dtype);      // f32 itself, or converted to the type that the inputs had

// Enqueues `kernel(args)` on the device, or says that the device has no such kernel.
template <class Args>
void launch(Device* device, void (*kernel)(const Args&), const Args& args) {
  if (!kernel) fail("no kernel on " + device->name, ErrorCode::no_kernel);
  device->stream->enqueue(current_op, [kernel, args] { kernel(args); });
}

// Where a backward op writes: `target` dense and f32 as kernels want it, carried over to the caller's tensor by finish().
class Output {
 public:
  Output(const Tensor& wanted, const char* argument, const Shape& shape, bool accumulate);
  float* data() const { return target_.data<float>(); }
  const Tensor& tensor() const { return target_; }
  bool accumulate() const { return direct_ && accumulate_; }
  void finish() const;  // once the kernel is enqueued

 private:
  Tensor wanted_, target_;
  bool direct_, accumulate_;
};

}  // namespace heddle
