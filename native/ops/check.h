#pragma once
// What every op needs: checks that name the op, the argument and what came; operands in the type and layout that a kernel
// takes; outputs in the type that the caller expects; the launch.
#include <initializer_list>
#include <optional>
#include <string>
#include <type_traits>

#include "core/error.h"
#include "core/tensor.h"

namespace heddle {

// Throws "<op>: <message>".
[[noreturn]] void fail(const std::string& message, ErrorCode code = ErrorCode::invalid_argument);

// How a value stands in an error. A function is asked for it, so that nothing is put together while all is well.
inline const char* words(const char* s) { return s; }
inline const std::string& words(const std::string& s) { return s; }
inline std::string words(const Shape& shape) { return text(shape); }
inline std::string words(const Tensor& t) { return text(t); }
inline std::string words(DType dtype) { return name_of(dtype); }
template <class T>
  requires std::is_arithmetic_v<T>
std::string words(T number) {
  return std::to_string(number);
}
template <class F>
  requires std::is_invocable_v<F>
std::string words(const F& f) {
  return words(f());
}

template <class Expected, class Got>
inline void require(bool ok, const char* argument, const Expected& expected, const Got& got) {
  if (!ok) fail(std::string(argument) + " must be " + words(expected) + ", got " + words(got));
}

void require_shape(const Tensor& t, const char* argument, const Shape& shape);
void require_float(const Tensor& t, const char* argument);
void require_dtype(const Tensor& t, const char* argument, DType dtype);
// For what reaches host memory: the ops of a capture run later, and again and again.
void require_not_capturing(const Device& device);
void require_same_device(const Tensor& a, const char* a_name, const Tensor& b, const char* b_name);

// A dimension given by the user: -1 is the last. `extra` allows one past the end.
int64_t dimension(int64_t dim, const Tensor& t, const char* argument);
Shape broadcast(const Shape& a, const Shape& b);  // NumPy's rule; throws naming both shapes

// The float type in which the device of t computes with t: its own where kernels take it, otherwise f32.
DType compute_type(const Tensor& t);
// The one in which it computes with all of them (null: not there): their common type, or f32.
DType compute_type(std::initializer_list<const Tensor*> tensors);

// What a dense kernel of that float type reads: t itself where it fits, otherwise a copy.
Tensor dense(const Tensor& t, const char* argument, DType type);
Tensor dense_i32(const Tensor& t, const char* argument);  // ids, indices: i32 (or u8), dense
// The same with a dense last dimension, other strides free.
Tensor dense_rows(const Tensor& t, const char* argument, DType type);

uint64_t seed_of(double seed);  // an integer from 0 to 2^53 - 1

Tensor copy_of(const Tensor& t, DType dtype);  // dense
void enqueue_copy(const Tensor& dst, const Tensor& src);
Tensor reshaped(const Tensor& t, const Shape& shape);  // t must be dense
Tensor result_as(const Tensor& t, DType dtype);        // t itself, or converted to the type that the inputs had

// Enqueues `kernel` on the device, with the scratch memory that it asks for, or says that the device has no such kernel.
template <class Args>
void launch(Device* device, const Kernel<Args>& kernel, std::type_identity_t<Args> args) {
  if (!kernel.run) fail("no kernel on " + device->name, ErrorCode::no_kernel);
  std::optional<Tensor> scratch;  // freed here: whoever gets its memory next comes later on the stream
  if constexpr (requires { args.workspace; }) {
    if (const size_t bytes = kernel.workspace ? kernel.workspace(args, device->card) : 0) {
      scratch = Tensor::empty(device, DType::u8, {static_cast<int64_t>(bytes)});
      args.workspace = scratch->data<void>();
    }
  }
  device->stream->enqueue(current_op, [run = kernel.run, args] { run(args); });
}

// Where an op writes: dense and of the type that the kernel writes, carried over to the caller's tensor by finish().
class Output {
 public:
  Output(const Tensor& wanted, const char* argument, const Shape& shape, bool accumulate, DType type);
  void* data() const { return target_.data<void>(); }
  float* f32() const { return target_.data<float>(); }  // for those made with that type
  const Tensor& tensor() const { return target_; }
  bool accumulate() const { return direct_ && accumulate_; }
  void finish() const;  // once the kernel is enqueued

 private:
  Tensor wanted_, target_;
  bool direct_, accumulate_;
};

}  // namespace heddle
