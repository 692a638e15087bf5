// Executable graphs: instantiation, launch, update.
#include <algorithm>

#include "sim/cuda/graph.h"
#include "sim/cuda/memory.h"

using namespace sim;

namespace {

std::set<CUgraphExec_st*>& executables() {
  static auto* set = new std::set<CUgraphExec_st*>;
  return *set;
}
CUgraphExec_st& exec_of(cudaGraphExec_t handle) {
  require(executables().count(handle));
  return *handle;
}

void check_acyclic(const CUgraph_st& graph) {
  in_order(graph);
  for (auto& n : graph.nodes)
    if (n->child) check_acyclic(*n->child);
}

CUgraphExec_st* instantiate(cudaGraph_t graph, unsigned long long flags) {
  const CUgraph_st& g = graph_of(graph);
  check_acyclic(g);
  auto* made = new CUgraphExec_st;
  made->graph = clone_graph(g);
  made->flags = flags;
  executables().insert(made);
  return made;
}

// Adds the nodes' work after `first`; returns what is the last of it.
std::vector<WorkRef> submit(const CUgraph_st& graph, const std::vector<WorkRef>& first) {
  std::map<const CUgraphNode_st*, WorkRef> done;
  std::vector<WorkRef> all;
  for (CUgraphNode_st* n : in_order(graph)) {
    std::vector<WorkRef> after;
    for (CUgraphNode_st* p : n->after) after.push_back(done.at(p));
    if (after.empty()) after = first;
    Task task = n->enabled ? n->task : Task(EmptyTask{});
    if (n->child) after = submit(*n->child, after);
    if (auto* wait = std::get_if<WaitTask>(&task)) after.push_back(event_of(wait->event).work);
    const auto* record = std::get_if<RecordTask>(&task);
    const cudaEvent_t event = record ? record->event : nullptr;
    const WorkRef work = add_work(*n->device, std::move(task), std::move(after));
    if (event) event_of(event).work = work;
    done[n] = work;
    all.push_back(work);
  }
  return all.empty() ? first : all;
}

// The executable graph's own copy of a node of the graph that it was made from.
CUgraphNode_st* find_copy(const CUgraph_st& graph, const CUgraphNode_st* original) {
  for (auto& n : graph.nodes) {
    if (n->original == original) return n.get();
    if (!n->child) continue;
    if (CUgraphNode_st* inner = find_copy(*n->child, original)) return inner;
  }
  return nullptr;
}
CUgraphNode_st& node_in(cudaGraphExec_t exec, cudaGraphNode_t node) {
  CUgraphNode_st* n = find_copy(*exec_of(exec).graph, node);
  require(n);
  return *n;
}
template <class T>
void replace(cudaGraphExec_t exec, cudaGraphNode_t node, T task) {
  T* old = std::get_if<T>(&node_in(exec, node).task);
  require(old);
  if constexpr (std::is_same_v<T, KernelTask>)
    task.shape.cluster = old->shape.cluster, task.cooperative = old->cooperative, task.priority = old->priority;
  *old = std::move(task);
}

std::set<size_t> positions(const CUgraphNode_st& node) {
  std::set<size_t> list;
  for (size_t k = 0; k < node.graph->nodes.size(); ++k)
    if (std::find(node.after.begin(), node.after.end(), node.graph->nodes[k].get()) != node.after.end()) list.insert(k);
  return list;
}

// Nodes are paired in the order in which they were added, as a repeated capture adds them.
cudaGraphExecUpdateResult compare(const CUgraph_st& ours, const CUgraph_st& theirs, cudaGraphExecUpdateResultInfo& info) {
  if (ours.nodes.size() != theirs.nodes.size()) return cudaGraphExecUpdateErrorTopologyChanged;
  for (size_t k = 0; k < ours.nodes.size(); ++k) {
    const CUgraphNode_st &a = *ours.nodes[k], &b = *theirs.nodes[k];
    info.errorNode = theirs.nodes[k].get();
    if (a.task.index() != b.task.index()) return cudaGraphExecUpdateErrorNodeTypeChanged;
    if (positions(a) != positions(b)) return cudaGraphExecUpdateErrorTopologyChanged;
    if (!a.child) continue;
    const auto inner = compare(*a.child, *b.child, info);
    if (inner != cudaGraphExecUpdateSuccess) return inner;
  }
  info.errorNode = nullptr;
  return cudaGraphExecUpdateSuccess;
}
void take_over(CUgraph_st& ours, const CUgraph_st& theirs) {
  for (size_t k = 0; k < ours.nodes.size(); ++k) {
    ours.nodes[k]->task = theirs.nodes[k]->task;
    if (ours.nodes[k]->child) take_over(*ours.nodes[k]->child, *theirs.nodes[k]->child);
  }
}

}  // namespace

SIM_API cudaError_t cudaGraphInstantiateWithFlags(cudaGraphExec_t* exec, cudaGraph_t graph, unsigned long long flags) {
  return api([&](Session&) { *exec = instantiate(graph, flags); });
}
SIM_API cudaError_t cudaGraphInstantiate(cudaGraphExec_t* exec, cudaGraph_t graph, unsigned long long flags) {
  return cudaGraphInstantiateWithFlags(exec, graph, flags);
}
#undef cudaGraphInstantiateWithParams
SIM_API cudaError_t cudaGraphInstantiateWithParams(cudaGraphExec_t* exec, cudaGraph_t graph, cudaGraphInstantiateParams* p) {
  return api([&](Session&) {
    p->errNode_out = nullptr;
    p->result_out = cudaGraphInstantiateError;
    *exec = instantiate(graph, p->flags);
    p->result_out = cudaGraphInstantiateSuccess;
  });
}
SIM_API cudaError_t cudaGraphExecGetFlags(cudaGraphExec_t exec, unsigned long long* flags) {
  return api([&](Session&) { *flags = exec_of(exec).flags; });
}
SIM_API cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec) {
  return api([&](Session&) {  // launches under way keep what they need
    CUgraphExec_st* e = &exec_of(exec);
    executables().erase(e);
    delete e;
  });
}
SIM_API cudaError_t cudaGraphUpload(cudaGraphExec_t exec, cudaStream_t stream) {
  return api([&](Session& s) {
    exec_of(exec);
    enqueue(s, stream_of(s, stream), EmptyTask{});
  });
}
SIM_API cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t stream) {
  return api([&](Session& s) {
    CUgraphExec_st& e = exec_of(exec);
    CUstream_st& st = stream_of(s, stream);
    require(!st.capture, cudaErrorStreamCaptureUnsupported);
    const WorkRef start = enqueue(s, st, EmptyTask{}, {e.last});
    e.last = enqueue(s, st, EmptyTask{}, submit(*e.graph, {start}));
  });
}

// ------------------------------------------------------------------------------------------- update

SIM_API cudaError_t cudaGraphExecUpdate(cudaGraphExec_t exec, cudaGraph_t graph, cudaGraphExecUpdateResultInfo* info) {
  return api([&](Session&) {
    CUgraph_st& ours = *exec_of(exec).graph;
    const CUgraph_st& theirs = graph_of(graph);
    cudaGraphExecUpdateResultInfo found{};
    found.result = compare(ours, theirs, found);
    if (info) *info = found;
    require(found.result == cudaGraphExecUpdateSuccess, cudaErrorGraphExecUpdateFailure);
    take_over(ours, theirs);
  });
}
SIM_API cudaError_t cudaGraphExecKernelNodeSetParams(cudaGraphExec_t exec, cudaGraphNode_t node, const cudaKernelNodeParams* p) {
  return api([&](Session& s) { replace(exec, node, kernel_task(s, *p)); });
}
SIM_API cudaError_t cudaGraphExecMemcpyNodeSetParams(cudaGraphExec_t exec, cudaGraphNode_t node, const cudaMemcpy3DParms* p) {
  return api([&](Session& s) { replace(exec, node, copy_task(s, *p)); });
}
SIM_API cudaError_t cudaGraphExecMemcpyNodeSetParams1D(cudaGraphExec_t exec, cudaGraphNode_t node, void* dst, const void* src, size_t bytes,
                                                       cudaMemcpyKind kind) {
  return api([&](Session& s) {
    CopyTask c = flat_copy(dst, src, bytes, kind);
    check_copy(s.device, c);
    replace(exec, node, std::move(c));
  });
}
SIM_API cudaError_t cudaGraphExecMemsetNodeSetParams(cudaGraphExec_t exec, cudaGraphNode_t node, const cudaMemsetParams* p) {
  return api([&](Session&) { replace(exec, node, fill_task(*p)); });
}
SIM_API cudaError_t cudaGraphExecHostNodeSetParams(cudaGraphExec_t exec, cudaGraphNode_t node, const cudaHostNodeParams* p) {
  return api([&](Session&) { replace(exec, node, host_task(p->fn, p->userData)); });
}
SIM_API cudaError_t cudaGraphExecChildGraphNodeSetParams(cudaGraphExec_t exec, cudaGraphNode_t node, cudaGraph_t child) {
  return api([&](Session&) {
    CUgraphNode_st& n = node_in(exec, node);
    const CUgraph_st& theirs = graph_of(child);
    cudaGraphExecUpdateResultInfo info{};
    require(n.child && compare(*n.child, theirs, info) == cudaGraphExecUpdateSuccess);
    take_over(*n.child, theirs);
  });
}
SIM_API cudaError_t cudaGraphExecEventRecordNodeSetEvent(cudaGraphExec_t exec, cudaGraphNode_t node, cudaEvent_t event) {
  return api([&](Session&) { replace(exec, node, RecordTask{&event_of(event)}); });
}
SIM_API cudaError_t cudaGraphExecEventWaitNodeSetEvent(cudaGraphExec_t exec, cudaGraphNode_t node, cudaEvent_t event) {
  return api([&](Session&) { replace(exec, node, WaitTask{&event_of(event)}); });
}
SIM_API cudaError_t cudaGraphExecNodeSetParams(cudaGraphExec_t exec, cudaGraphNode_t node, cudaGraphNodeParams* p) {
  return api([&](Session& s) {
    CUgraphNode_st& n = node_in(exec, node);
    Task task = task_from(s, *p);
    require(n.task.index() == task.index());
    n.task = std::move(task);
  });
}
SIM_API cudaError_t cudaGraphNodeSetEnabled(cudaGraphExec_t exec, cudaGraphNode_t node, unsigned enabled) {
  return api([&](Session&) {
    CUgraphNode_st& n = node_in(exec, node);
    require(std::holds_alternative<KernelTask>(n.task) || std::holds_alternative<CopyTask>(n.task) ||
            std::holds_alternative<FillTask>(n.task));
    n.enabled = enabled != 0;
  });
}
SIM_API cudaError_t cudaGraphNodeGetEnabled(cudaGraphExec_t exec, cudaGraphNode_t node, unsigned* enabled) {
  return api([&](Session&) { *enabled = node_in(exec, node).enabled; });
}

// --------------------------------------------------------------------------- memory that graphs hold

SIM_API cudaError_t cudaDeviceGraphMemTrim(int device) {
  return api([&](Session&) { device_of(device); });
}
SIM_API cudaError_t cudaDeviceGetGraphMemAttribute(int device, cudaGraphMemAttributeType, void* value) {
  return api([&](Session&) {
    device_of(device);
    *static_cast<uint64_t*>(value) = graph_bytes(device);
  });
}
SIM_API cudaError_t cudaDeviceSetGraphMemAttribute(int device, cudaGraphMemAttributeType, void*) {
  return api([&](Session&) { device_of(device); });
}
