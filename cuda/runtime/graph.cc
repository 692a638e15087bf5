#include "runtime/graph.h"

#include <cuda_runtime_api.h>

#include "core/error.h"
#include "runtime/error.h"
#include "runtime/queue.h"

namespace heddle::cuda {
namespace {

void require_working() {
  if (!queue().lost.empty()) throw OpError(queue().lost, ErrorCode::device);
}

class Graph : public Captured {
 public:
  explicit Graph(cudaGraph_t graph) {
    const cudaError_t e = cudaGraphInstantiate(&executable_, graph, 0);
    cudaGraphDestroy(graph);
    check(e, "capture");
  }
  ~Graph() override {  // on the worker
    cudaStreamSynchronize(queue().stream);
    cudaGraphExecDestroy(executable_);
    cudaGetLastError();  // the device may be lost, and nothing is left to do
  }
  void launch() override {
    require_working();
    check(cudaGraphLaunch(executable_, queue().stream), "replay of a captured graph");
  }

 private:
  cudaGraphExec_t executable_ = nullptr;
};

}  // namespace

std::unique_ptr<Captured> capture(const std::function<void()>& run_all) {
  require_working();
  Queue& q = queue();
  // The JavaScript thread allocates meanwhile, which a capture in global mode forbids every thread.
  check(cudaStreamBeginCapture(q.stream, cudaStreamCaptureModeThreadLocal), "capture");
  q.capturing = true;
  cudaGraph_t graph = nullptr;
  const auto end = [&] {
    q.capturing = false;
    return cudaStreamEndCapture(q.stream, &graph);
  };
  try {
    run_all();
  } catch (...) {
    end();
    if (graph) cudaGraphDestroy(graph);
    cudaGetLastError();
    throw;
  }
  check(end(), "capture");
  return std::make_unique<Graph>(graph);
}

}  // namespace heddle::cuda
