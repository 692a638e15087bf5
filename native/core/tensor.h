#pragma once
// A tensor: a shared buffer on one device, seen through a shape, strides (in elements) and an offset.
#include <cstdint>
#include <memory>
#include <string>

#include "core/device.h"
#include "core/dtype.h"
#include "core/shape.h"
#include "ops/backend.h"

namespace heddle {

// Where a tensor lies: in its device's memory, or in that of the host, where kernels reach it all the same.
enum class Placement : uint8_t { device, host };

struct Storage {
  Storage(Device* device, size_t bytes, const char* op, Placement placement = Placement::device);
  ~Storage();
  Storage(const Storage&) = delete;
  Storage& operator=(const Storage&) = delete;

  const void* block() const { return static_cast<const char*>(data) - guard; }  // as the allocator knows it

  Device* device;
  Allocator* memory;  // the device's, or its host_memory
  size_t bytes;
  const char* op;
  size_t guard;  // bytes of canary before and after
  void* data;
};

struct Tensor {
  std::shared_ptr<Storage> storage;
  int64_t offset = 0;  // elements
  DType dtype = DType::f32;
  Shape shape, stride;

  static Tensor empty(Device* device, DType dtype, const Shape& shape, Placement placement = Placement::device);

  Device* device() const { return storage->device; }
  int64_t rank() const { return static_cast<int64_t>(shape.size()); }
  int64_t elements() const;
  bool dense() const;  // row-major without gaps
  template <class T>
  T* data() const {
    return reinterpret_cast<T*>(static_cast<char*>(storage->data) + offset * static_cast<int64_t>(size_of(dtype)));
  }
  View view() const;
};

std::string text(const Shape& s);   // "(2, 3)"
std::string text(const Tensor& t);  // "f32 (2, 3)"
Shape dense_strides(const Shape& s);

// Who is running, for error messages and the memory report: the JavaScript name of the op that was called.
extern thread_local const char* current_op;

}  // namespace heddle
