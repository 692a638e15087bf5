#include "runtime/graph.h"

#include <cuda_runtime_api.h>

#include "core/error.h"
#include "runtime/error.h"
#include "runtime/lost.h"
#include "runtime/queue.h"

namespace heddle::cuda {
namespace {

void require_working() {
  if (!queue().lost.empty()) throw OpError(queue().lost, ErrorCode::device);
}

class Graph : public Captured {
 public:
  Graph(const std::string& name, cudaGraph_t graph) : name_(name), launch_("replay of " + name) {
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
    note_replay(name_);
    check(cudaGraphLaunch(executable_, queue().stream), launch_.c_str());
  }

 private:
  const std::string name_, launch_;
  cudaGraphExec_t executable_ = nullptr;
};

}  // namespace

std::unique_ptr<Captured> capture(const std::string& name, const std::function<void()>& run_all) {
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
  return std::make_unique<Graph>(name, graph);
}

}  // namespace heddle::cuda
