// A CUDA device as the engine sees it: the table of kernels, a stream whose worker launches them, memory from cudaMalloc.
#include "core/device.h"

#include <cuda_runtime_api.h>

#include <memory>
#include <string>
#include <utility>

#include "core/error.h"
#include "kernels.h"
#include "runtime/card.h"
#include "runtime/error.h"
#include "runtime/fault.h"
#include "runtime/graph.h"
#include "runtime/lost.h"
#include "runtime/probe.h"
#include "runtime/queue.h"
#include "runtime/staging.h"

namespace heddle {
namespace cuda {
namespace {

// What a device's worker owns, from its first task to its last.
struct Worker {
  Queue queue{};
  std::unique_ptr<Staging> staging;
  bool made = false;

  void make(int index) {
    queue.card = &card(index);
    set_queue(&queue);
    check(cudaSetDevice(index), "cudaSetDevice");
    check(cudaStreamCreateWithFlags(&queue.stream, cudaStreamNonBlocking), "cudaStreamCreate");
    void* fault = nullptr;
    check(cudaHostAlloc(&fault, sizeof(Fault), cudaHostAllocMapped), "pinned memory");
    queue.fault = new (fault) Fault{};
    staging = std::make_unique<Staging>();
    made = true;
  }

  StreamResult finish() {
    if (!queue.lost.empty()) return StreamError{ErrorCode::device, queue.lost};
    if (const cudaError_t e = cudaStreamSynchronize(queue.stream); e != cudaSuccess)
      return StreamError{ErrorCode::device, lost_message(e, "waiting for it")};
    forget_replays();
    if (queue.fault->kind == FaultKind::none) return std::nullopt;
    const std::string text = fault_text(*queue.fault);
    *queue.fault = Fault{};
    return StreamError{ErrorCode::invalid_argument, text};
  }

  void leave() {
    if (queue.stream) cudaStreamSynchronize(queue.stream);
    staging.reset();
    if (queue.fault) cudaFreeHost(queue.fault);
    if (queue.stream) cudaStreamDestroy(queue.stream);
    set_queue(nullptr);
  }
};

thread_local Worker* worker = nullptr;

// Copies wait for events, which a capture forbids.
void require_copying() {
  if (!queue().lost.empty()) throw OpError(queue().lost, ErrorCode::device);
  if (queue().capturing) throw OpError("a copy between host and device cannot be captured", ErrorCode::capturing);
}

void copy_in(void* to, const void* from, size_t bytes) {
  require_copying();
  worker->staging->copy_in(to, from, bytes, queue().stream);
}

void copy_out(void* to, const void* from, size_t bytes) {
  require_copying();
  worker->staging->copy_out(to, from, bytes, queue().stream);
}

std::string name_of(int index) { return "cuda:" + std::to_string(index); }

// On the JavaScript thread, which has its own current device. Null: no memory left.
void* allocate(int index, size_t bytes) {
  const auto works = [&](cudaError_t e, const char* what) {
    if (is_fatal(e)) throw OpError(lost_text(name_of(index), e, what), ErrorCode::device);
    check(e, what);
  };
  works(cudaSetDevice(index), "cudaSetDevice");
  void* p = nullptr;
  const cudaError_t e = cudaMalloc(&p, bytes);
  if (e != cudaErrorMemoryAllocation) works(e, "cudaMalloc");
  if (e != cudaSuccess) cudaGetLastError();
  return p;
}

// The host's memory, where kernels of every card reach it. Null: no memory left.
void* allocate_on_host(int index, size_t bytes) {
  check(cudaSetDevice(index), "cudaSetDevice");
  void* p = nullptr;
  const cudaError_t e = cudaHostAlloc(&p, bytes, cudaHostAllocMapped | cudaHostAllocPortable);
  if (e != cudaErrorMemoryAllocation) check(e, "pinned memory");
  if (e != cudaSuccess) cudaGetLastError();
  return p;
}

void release_on_host(void* p, size_t) {
  cudaFreeHost(p);
  cudaGetLastError();
}

int64_t available(int index) {
  size_t free = 0, total = 0;
  const bool known = cudaSetDevice(index) == cudaSuccess && cudaMemGetInfo(&free, &total) == cudaSuccess;
  return known ? static_cast<int64_t>(free) : -1;
}

// On the worker; or when the stream has ended and the allocator goes.
void release(void* p, size_t) {
  cudaFree(p);
  cudaGetLastError();
}

CardInfo describe(int index) {
  CardInfo info{};
  try {
    const Card& c = card(index);
    info.name = c.name;
    info.capability = c.sm;
    info.memory = static_cast<int64_t>(c.memory);
    info.multiprocessors = c.multiprocessors;
    info.simulated = c.simulated();
    check(cudaSetDevice(index), "cudaSetDevice");
    size_t free = 0, total = 0;
    check(cudaMemGetInfo(&free, &total), "cudaMemGetInfo");
    info.free = static_cast<int64_t>(free);
    info.problem = probe(c);
  } catch (const OpError& e) {
    info.problem = e.what();
  }
  return info;
}

}  // namespace
}  // namespace cuda

CudaStatus cuda_status() {
  CudaStatus status;
  int driver = 0;
  cudaDriverGetVersion(&driver);
  status.version = cuda::version_text(CUDART_VERSION) + (driver ? ", driver for " + cuda::version_text(driver) : "");
  const int n = cuda::card_count(&status.problem);
  for (int i = 0; i < n; ++i) status.cards.push_back(cuda::describe(i));
  return status;
}

std::unique_ptr<Device> make_cuda_device(int index) {
  const cuda::Card& card = cuda::card(index);
  cuda::check(cudaSetDevice(index), "cudaSetDevice");
  if (const std::string problem = cuda::probe(card); !problem.empty())
    throw OpError(cuda::name_of(index) + ": " + problem, ErrorCode::device);
  auto worker = std::make_shared<cuda::Worker>();
  auto device = std::make_unique<Device>();
  device->name = cuda::name_of(index);
  device->backend = &cuda::backend;
  device->card = index;
  device->computes_half = true;
  device->copy_in = cuda::copy_in;
  device->copy_out = cuda::copy_out;
  device->stream = std::make_unique<Stream>(Stream::Hooks{
      [worker, index] {
        cuda::worker = worker.get();
        try {
          worker->make(index);
        } catch (const OpError& e) {
          worker->queue.lost = e.what();  // every task will say so
        }
      },
      [worker] { worker->leave(); },
      [worker] { return worker->finish(); },
      cuda::capture,
  });
  const Allocator::Source source{[index](size_t bytes) { return cuda::allocate(index, bytes); }, cuda::release,
                                 [index] { return cuda::available(index); }, device->name};
  device->memory = std::make_unique<Allocator>(source, device->stream.get());
  const Allocator::Source host{[index](size_t bytes) { return cuda::allocate_on_host(index, bytes); }, cuda::release_on_host, nullptr,
                               "the host"};
  device->host_memory = std::make_unique<Allocator>(host, device->stream.get());
  return device;
}

}  // namespace heddle
