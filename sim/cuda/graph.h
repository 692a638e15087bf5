// Graphs: nodes with tasks and edges; stream capture; executable copies.
#pragma once

#include "sim/cuda/copy.h"
#include "sim/cuda/work.h"

struct CUgraphNode_st {
  CUgraph_st* graph = nullptr;
  sim::Task task;
  std::vector<CUgraphNode_st*> after;
  CUgraphNode_st* original = nullptr;  // in the graph of which this one's is a clone
  std::unique_ptr<CUgraph_st> child;
  sim::Device* device = nullptr;
  bool enabled = true;
  std::vector<void*> pointers;  // to a kernel's arguments, as the last query of its parameters returned them
  ~CUgraphNode_st();
};

struct CUgraph_st {
  std::vector<std::unique_ptr<CUgraphNode_st>> nodes;        // in the order in which they were added
  std::map<struct CUuserObject_st*, unsigned> user_objects;  // and how many references to each
  CUgraphNode_st* parent = nullptr;                          // of a child graph
  ~CUgraph_st();
};

struct CUuserObject_st {
  cudaHostFn_t destroy = nullptr;
  void* data = nullptr;
  sim::Device* device = nullptr;  // on whose callback thread it is destroyed
  unsigned references = 0;
};

struct CUgraphExec_st {
  std::unique_ptr<CUgraph_st> graph;
  unsigned long long flags = 0;
  sim::WorkRef last;  // launches of one executable graph follow each other
};

namespace sim {

struct Capture {
  std::unique_ptr<CUgraph_st> own;  // null when the nodes go to a graph of the caller's
  CUgraph_st* graph = nullptr;
  CUstream_st* origin = nullptr;
  cudaStreamCaptureMode mode = cudaStreamCaptureModeGlobal;
  std::thread::id thread;
  unsigned long long id = 0;
  bool invalid = false;
};

void capture_task(CUstream_st& stream, Task task);                // adds a node; refuses when the capture is invalid
void join_capture(CUstream_st& stream, const CUevent_st& event);  // the stream waits for captured work
void invalidate(Capture& capture);
void forbid_while_capturing();  // calls that a capture in progress rules out: refuses and invalidates

CUgraphNode_st* add_node(CUgraph_st& graph, Device& d, Task task, std::vector<CUgraphNode_st*> after);
CUgraph_st& graph_of(cudaGraph_t handle);
CUgraphNode_st& node_of(cudaGraphNode_t handle);

// What the caller's parameters of a node describe; refuses what a driver refuses.
KernelTask kernel_task(Session& s, const cudaKernelNodeParams& p);
CopyTask copy_task(Session& s, const cudaMemcpy3DParms& p);
FillTask fill_task(const cudaMemsetParams& p);
HostTask host_task(cudaHostFn_t f, void* data);
AllocateTask graph_memory(Device& d, size_t bytes);        // allocated until no graph and no pending work has the task
Task task_from(Session& s, const cudaGraphNodeParams& p);  // all but child graphs

std::unique_ptr<CUgraph_st> clone_graph(const CUgraph_st& graph);
std::vector<CUgraphNode_st*> in_order(const CUgraph_st& graph);  // predecessors first; refuses a cycle
void release_object(CUuserObject_st& object, unsigned count);    // destroys it with the last reference
void remember_graph(CUgraph_st* graph);                          // its handle is valid
void forget_graph(CUgraph_st* graph);                            // no longer

}  // namespace sim
