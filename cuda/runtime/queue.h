#pragma once
// Where a kernel's launcher finds its card and stream: launchers run on a device's worker thread, which has one queue.
#include <cuda_runtime_api.h>

#include <string>

#include "runtime/card.h"
#include "runtime/fault.h"

namespace heddle::cuda {

struct Queue {
  const Card* card;
  cudaStream_t stream;
  Fault* fault;      // pinned; kernels write to it (fault.h)
  std::string lost;  // why the device is lost; empty while it works
  bool capturing;    // what is launched goes into a graph: nothing can be waited for
};

// Of this thread; throws on a thread that is not a device's worker.
Queue& queue();
void set_queue(Queue* q);

// Marks this thread's device as lost and says so in words.
std::string lost_message(cudaError_t e, const char* what);

}  // namespace heddle::cuda
