// Device work: tasks, their order, streams and events.
//
// Every asynchronous call becomes a Work with the list of works that must be done before it. A stream remembers its last work, an event the
// work that records it, a graph launch adds its nodes; so all of CUDA's order is one directed acyclic graph. Seeds 0 and 1 execute a work
// as soon as it may run. Other seeds leave works waiting as long as CUDA permits, or start them in any permitted order.
#pragma once

#include <chrono>
#include <functional>
#include <variant>

#include "sim/cuda/runtime.h"

namespace sim {

struct KernelTask {
  Kernel* kernel = nullptr;
  Launch shape;
  bool cooperative = false;
  int priority = 0;
  std::vector<uint8_t> arguments;  // the parameters' bytes, one after the other
};

struct CopyTask {  // depth planes of height rows of width bytes
  uint8_t* dst = nullptr;
  const uint8_t* src = nullptr;
  size_t dst_pitch = 0, src_pitch = 0, dst_plane = 0, src_plane = 0;
  size_t width = 0, height = 1, depth = 1;
  cudaMemcpyKind kind = cudaMemcpyDefault;
  std::shared_ptr<std::vector<uint8_t>> staging;  // keeps src alive where pageable memory was copied at the call
};

struct FillTask {  // elements of 1, 2 or 4 bytes
  uint8_t* dst = nullptr;
  size_t pitch = 0, plane = 0;
  uint32_t value = 0, element_bytes = 1;
  size_t width = 0, height = 1, depth = 1;  // width in elements
};

struct HostTask {  // called on the callback thread, with the error of the device (cudaSuccess) where it asks for it
  std::function<void(cudaError_t)> call;
  bool after_errors = false;  // cudaStreamAddCallback is called even then
  cudaHostFn_t function = nullptr;
  void* data = nullptr;
};

struct RecordTask {
  cudaEvent_t event = nullptr;
};
struct WaitTask {  // in a graph; a stream's wait is an EmptyTask with a predecessor
  cudaEvent_t event = nullptr;
};
struct FreeTask {
  uint64_t address = 0;
};
struct AllocateTask {  // in a graph; the address is fixed when the node is made
  uint64_t address = 0;
  size_t bytes = 0;
  int device = 0;
  std::shared_ptr<void> memory;  // frees it
};
struct EmptyTask {};
struct ChildTask {};  // the graph belongs to the node

using Task = std::variant<EmptyTask, KernelTask, CopyTask, FillTask, HostTask, RecordTask, WaitTask, FreeTask, AllocateTask, ChildTask>;

struct Work {
  enum State : uint8_t { Waiting, Running, Done };
  Device* device = nullptr;
  Task task;
  std::vector<std::shared_ptr<Work>> after;  // cleared as they are done
  State state = Waiting;
  bool fault = false;  // SIM_FAULT
  std::chrono::steady_clock::time_point time;
};
using WorkRef = std::shared_ptr<Work>;

struct Capture;  // sim/cuda/graph.h

}  // namespace sim

struct CUevent_st {
  sim::Device* device = nullptr;
  unsigned flags = 0;
  sim::WorkRef work;                      // of the last record
  std::shared_ptr<sim::Capture> capture;  // the last record was captured
  std::vector<cudaGraphNode_t> nodes;     // in it
};

struct CUstream_st {
  sim::Device* device = nullptr;
  unsigned flags = 0;
  int priority = 0;
  unsigned long long id = 0;
  sim::WorkRef last;
  std::shared_ptr<sim::Capture> capture;
  std::vector<cudaGraphNode_t> nodes;  // on which the next captured node depends

  bool blocking() const { return !(flags & cudaStreamNonBlocking); }
};

namespace sim {

CUstream_st& stream_of(Session& s, cudaStream_t handle);  // 0, cudaStreamLegacy, cudaStreamPerThread or a live stream
CUevent_st& event_of(cudaEvent_t handle);
CUstream_st* new_stream(Device& d, unsigned flags, int priority);

// Adds the task to the stream, or to the graph that the stream is captured into (null then).
WorkRef enqueue(Session& s, CUstream_st& stream, Task task, std::vector<WorkRef> also_after = {});
// The same with given predecessors and no stream.
WorkRef add_work(Device& d, Task task, std::vector<WorkRef> after);

void wait_for(Session& s, const WorkRef& work);
void wait_for_device(Session& s, Device& d);
bool finished(Session& s, const WorkRef& work);  // gives other work the chance to run first
void forget_work(Device& d);                     // cudaDeviceReset
void raise_sticky(Device& d);                    // refuses with the fault that the wait has brought to light
void destroy_streams_and_events(Device& d);

CUevent_st* new_event(Device& d, unsigned flags);
void delete_event(CUevent_st* e);
void delete_stream(CUstream_st* st);

// Execution of the tasks (sim/cuda/execute.cc).
void validate_launch(Session& s, KernelTask& task, void** arguments);
void execute(Work& w);
void check_copy(Device& d, const CopyTask& c);  // refuses with cudaErrorInvalidValue
void check_fill(const FillTask& f);

}  // namespace sim
