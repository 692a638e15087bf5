#pragma once
// A device of one instance: its kernels, its stream, its memory.
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "core/allocator.h"
#include "core/stream.h"
#include "ops/backend.h"

namespace heddle {

struct Device {
  std::string name;  // "cpu", "cuda:0"
  const Backend* backend;
  int card = -1;       // number of the GPU; -1: the CPU
  bool plans = false;  // a dry run: no memory behind the addresses, no kernel runs
  bool computes_half;  // kernels take bf16 and f16; otherwise ops convert to f32 and back
  // In this order: the stream ends before the memory goes.
  std::unique_ptr<Allocator> memory;
  std::unique_ptr<Allocator> host_memory;  // pinned memory of the host, which kernels reach over the bus; null: `memory` is the host's
  std::unique_ptr<Stream> stream;

  // Copies on the worker, in stream order. The host's memory may be used again when they return.
  void (*copy_in)(void* to_device, const void* from_host, size_t bytes);
  void (*copy_out)(void* to_host, const void* from_device, size_t bytes);
  // Reads a file's bytes from `offset` on straight into memory, on the worker; null where the device's memory is not the host's.
  void (*read_in)(void* to, int file, int64_t offset, size_t bytes) = nullptr;
  int64_t copies_out = 0;  // how many were enqueued: reading back is what makes a program wait
  bool guarded = false;    // tensors made from now on are poisoned and lie between canaries (tensor.cc): for tests

  std::function<void(int)> set_threads;  // CPU only; takes effect after what is enqueued
  int threads = 1;
  std::function<void(int64_t)> fail_scratch_at;  // CPU only, for tests: the n-th scratch buffer that a kernel asks for is not there
};

// native/cpu/host/device.cc
std::unique_ptr<Device> make_cpu_device(int threads);
int default_threads();  // $HEDDLE_THREADS, or the processors this process may use

// native/plan/device.cc: a dry run of 'cpu', or of a card of a compute capability ('90', '90x132' with so many multiprocessors).
std::unique_ptr<Device> make_plan_device(const std::string& what);

// A GPU as the doctor shows it.
struct CardInfo {
  std::string name;      // as the driver says, "simulated sm_80" for a simulated one
  int capability;        // 10 * major + minor
  int64_t memory, free;  // bytes
  int multiprocessors;
  std::string problem;  // why it cannot be used; empty: it can
  bool simulated;
};

// cuda/runtime/device.cc, or native/core/no_cuda.cc in a build without CUDA.
struct CudaStatus {
  std::string problem;  // why there is no card to use; empty: there is one
  std::string version;  // "13.0 (driver 580.65)", empty without CUDA in the build
  std::vector<CardInfo> cards;
};
CudaStatus cuda_status();
std::unique_ptr<Device> make_cuda_device(int card);  // throws OpError

}  // namespace heddle
