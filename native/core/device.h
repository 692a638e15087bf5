#pragma once
// A device of one instance: its kernels, its stream, its memory.
#include <functional>
#include <memory>
#include <string>

#include "core/allocator.h"
#include "core/stream.h"
#include "ops/backend.h"

namespace heddle {

struct Device {
  std::string name;  // "cpu", "cuda:0"
  const Backend* backend;
  bool computes_half;  // kernels take bf16 and f16; otherwise ops convert to f32 and back
  // In this order: the stream ends before the memory goes.
  std::unique_ptr<Allocator> memory;
  std::unique_ptr<Stream> stream;

  // Copies between host and device on the worker (both plain memory on the CPU).
  void (*copy_bytes)(void* to, const void* from, size_t bytes);

  std::function<void(int)> set_threads;  // CPU only; takes effect after what is enqueued
  int threads = 1;
};

// native/cpu/host/device.cc
std::unique_ptr<Device> make_cpu_device(int threads);
int default_threads();  // $HEDDLE_THREADS, or the processors this process may use

}  // namespace heddle
