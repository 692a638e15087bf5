// Graphs as the caller builds and reads them: nodes, their parameters, edges, user objects.
#include <algorithm>
#include <cstdio>

#include "sim/cuda/graph.h"
#include "sim/cuda/memory.h"

using namespace sim;

namespace {

void add(Session& s, cudaGraphNode_t* out, cudaGraph_t graph, const cudaGraphNode_t* after, size_t n, Task task) {
  require(out && (after || n == 0));
  *out = add_node(graph_of(graph), s.device, std::move(task), {after, after + n});
}

void add_child(Session& s, cudaGraphNode_t* out, cudaGraph_t graph, const cudaGraphNode_t* after, size_t n, cudaGraph_t child) {
  auto copy = clone_graph(graph_of(child));
  add(s, out, graph, after, n, ChildTask{});
  copy->parent = *out;
  remember_graph(copy.get());
  (*out)->child = std::move(copy);
}

template <class T>
T& task_of(cudaGraphNode_t node) {
  T* task = std::get_if<T>(&node_of(node).task);
  require(task);
  return *task;
}

// The protocol of all calls that return a list: without a place, its length; else as much as fits, the rest null.
template <class T>
void give(const std::vector<T>& list, T* out, size_t* count) {
  require(count);
  if (out)
    for (size_t k = 0; k < *count; ++k) out[k] = k < list.size() ? list[k] : T{};
  *count = out ? std::min(*count, list.size()) : list.size();
}

std::vector<cudaGraphNode_t> followers(const CUgraphNode_st& node) {
  std::vector<cudaGraphNode_t> list;
  for (auto& n : node.graph->nodes)
    if (std::find(n->after.begin(), n->after.end(), &node) != n->after.end()) list.push_back(n.get());
  return list;
}

cudaGraphNodeType type_of(const Task& task) {
  struct Visitor {
    cudaGraphNodeType operator()(const EmptyTask&) { return cudaGraphNodeTypeEmpty; }
    cudaGraphNodeType operator()(const KernelTask&) { return cudaGraphNodeTypeKernel; }
    cudaGraphNodeType operator()(const CopyTask&) { return cudaGraphNodeTypeMemcpy; }
    cudaGraphNodeType operator()(const FillTask&) { return cudaGraphNodeTypeMemset; }
    cudaGraphNodeType operator()(const HostTask&) { return cudaGraphNodeTypeHost; }
    cudaGraphNodeType operator()(const RecordTask&) { return cudaGraphNodeTypeEventRecord; }
    cudaGraphNodeType operator()(const WaitTask&) { return cudaGraphNodeTypeWaitEvent; }
    cudaGraphNodeType operator()(const FreeTask&) { return cudaGraphNodeTypeMemFree; }
    cudaGraphNodeType operator()(const AllocateTask&) { return cudaGraphNodeTypeMemAlloc; }
    cudaGraphNodeType operator()(const ChildTask&) { return cudaGraphNodeTypeGraph; }
  };
  return std::visit(Visitor{}, task);
}

}  // namespace

// ---------------------------------------------------------------------------------- graphs and nodes

SIM_API cudaError_t cudaGraphCreate(cudaGraph_t* graph, unsigned flags) {
  return api([&](Session&) {
    require(graph && flags == 0);
    *graph = new CUgraph_st;
    remember_graph(*graph);
  });
}
SIM_API cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  return api([&](Session&) {
    CUgraph_st& g = graph_of(graph);
    require(!g.parent);
    forget_graph(&g);
    delete &g;
  });
}
SIM_API cudaError_t cudaGraphClone(cudaGraph_t* clone, cudaGraph_t graph) {
  return api([&](Session&) {
    require(clone);
    *clone = clone_graph(graph_of(graph)).release();
    remember_graph(*clone);
  });
}
SIM_API cudaError_t cudaGraphNodeFindInClone(cudaGraphNode_t* node, cudaGraphNode_t original, cudaGraph_t clone) {
  return api([&](Session&) {
    require(node);
    for (auto& n : graph_of(clone).nodes)
      if (n->original == original) {
        *node = n.get();
        return;
      }
    refuse(cudaErrorInvalidValue);
  });
}
SIM_API cudaError_t cudaGraphAddNode(cudaGraphNode_t* node, cudaGraph_t graph, const cudaGraphNode_t* after, const cudaGraphEdgeData*,
                                     size_t n, cudaGraphNodeParams* p) {
  return api([&](Session& s) {
    require(p);
    if (p->type == cudaGraphNodeTypeGraph) return add_child(s, node, graph, after, n, p->graph.graph);
    Task task = task_from(s, *p);
    if (auto* a = std::get_if<AllocateTask>(&task)) p->alloc.dptr = reinterpret_cast<void*>(a->address);
    add(s, node, graph, after, n, std::move(task));
  });
}
SIM_API cudaError_t cudaGraphAddKernelNode(cudaGraphNode_t* node, cudaGraph_t graph, const cudaGraphNode_t* after, size_t n,
                                           const cudaKernelNodeParams* p) {
  return api([&](Session& s) { add(s, node, graph, after, n, kernel_task(s, *p)); });
}
SIM_API cudaError_t cudaGraphAddMemcpyNode(cudaGraphNode_t* node, cudaGraph_t graph, const cudaGraphNode_t* after, size_t n,
                                           const cudaMemcpy3DParms* p) {
  return api([&](Session& s) { add(s, node, graph, after, n, copy_task(s, *p)); });
}
SIM_API cudaError_t cudaGraphAddMemcpyNode1D(cudaGraphNode_t* node, cudaGraph_t graph, const cudaGraphNode_t* after, size_t n, void* dst,
                                             const void* src, size_t bytes, cudaMemcpyKind kind) {
  return api([&](Session& s) {
    CopyTask c = flat_copy(dst, src, bytes, kind);
    check_copy(s.device, c);
    add(s, node, graph, after, n, std::move(c));
  });
}
SIM_API cudaError_t cudaGraphAddMemcpyNodeToSymbol(cudaGraphNode_t* node, cudaGraph_t graph, const cudaGraphNode_t* after, size_t n,
                                                   const void* symbol, const void* src, size_t bytes, size_t offset, cudaMemcpyKind kind) {
  char* p = nullptr;
  if (const cudaError_t e = in_symbol(symbol, offset, bytes, &p)) return e;
  return cudaGraphAddMemcpyNode1D(node, graph, after, n, p, src, bytes, kind);
}
SIM_API cudaError_t cudaGraphAddMemcpyNodeFromSymbol(cudaGraphNode_t* node, cudaGraph_t graph, const cudaGraphNode_t* after, size_t n,
                                                     void* dst, const void* symbol, size_t bytes, size_t offset, cudaMemcpyKind kind) {
  char* p = nullptr;
  if (const cudaError_t e = in_symbol(symbol, offset, bytes, &p)) return e;
  return cudaGraphAddMemcpyNode1D(node, graph, after, n, dst, p, bytes, kind);
}
SIM_API cudaError_t cudaGraphAddMemsetNode(cudaGraphNode_t* node, cudaGraph_t graph, const cudaGraphNode_t* after, size_t n,
                                           const cudaMemsetParams* p) {
  return api([&](Session& s) { add(s, node, graph, after, n, fill_task(*p)); });
}
SIM_API cudaError_t cudaGraphAddHostNode(cudaGraphNode_t* node, cudaGraph_t graph, const cudaGraphNode_t* after, size_t n,
                                         const cudaHostNodeParams* p) {
  return api([&](Session& s) { add(s, node, graph, after, n, host_task(p->fn, p->userData)); });
}
SIM_API cudaError_t cudaGraphAddChildGraphNode(cudaGraphNode_t* node, cudaGraph_t graph, const cudaGraphNode_t* after, size_t n,
                                               cudaGraph_t child) {
  return api([&](Session& s) { add_child(s, node, graph, after, n, child); });
}
SIM_API cudaError_t cudaGraphAddEmptyNode(cudaGraphNode_t* node, cudaGraph_t graph, const cudaGraphNode_t* after, size_t n) {
  return api([&](Session& s) { add(s, node, graph, after, n, EmptyTask{}); });
}
SIM_API cudaError_t cudaGraphAddEventRecordNode(cudaGraphNode_t* node, cudaGraph_t graph, const cudaGraphNode_t* after, size_t n,
                                                cudaEvent_t event) {
  return api([&](Session& s) {
    event_of(event);
    add(s, node, graph, after, n, RecordTask{event});
  });
}
SIM_API cudaError_t cudaGraphAddEventWaitNode(cudaGraphNode_t* node, cudaGraph_t graph, const cudaGraphNode_t* after, size_t n,
                                              cudaEvent_t event) {
  return api([&](Session& s) {
    event_of(event);
    add(s, node, graph, after, n, WaitTask{event});
  });
}
SIM_API cudaError_t cudaGraphAddMemAllocNode(cudaGraphNode_t* node, cudaGraph_t graph, const cudaGraphNode_t* after, size_t n,
                                             cudaMemAllocNodeParams* p) {
  return api([&](Session& s) {
    AllocateTask task = graph_memory(device_of(p->poolProps.location.id), p->bytesize);
    p->dptr = reinterpret_cast<void*>(task.address);
    add(s, node, graph, after, n, std::move(task));
  });
}
SIM_API cudaError_t cudaGraphAddMemFreeNode(cudaGraphNode_t* node, cudaGraph_t graph, const cudaGraphNode_t* after, size_t n, void* p) {
  return api([&](Session& s) {
    require(find_begin(p));
    add(s, node, graph, after, n, FreeTask{reinterpret_cast<uint64_t>(p)});
  });
}
SIM_API cudaError_t cudaGraphDestroyNode(cudaGraphNode_t handle) {
  return api([&](Session&) {
    CUgraphNode_st& node = node_of(handle);
    CUgraph_st& g = *node.graph;
    for (auto& n : g.nodes) std::erase(n->after, &node);
    std::erase_if(g.nodes, [&](auto& n) { return n.get() == &node; });
  });
}
// Kernels that decide on the device which part of a graph runs.
SIM_API cudaError_t cudaGraphConditionalHandleCreate(cudaGraphConditionalHandle*, cudaGraph_t, unsigned, unsigned) {
  return note(cudaErrorNotSupported);
}

// --------------------------------------------------------------------------------------- parameters

SIM_API cudaError_t cudaGraphNodeGetType(cudaGraphNode_t node, cudaGraphNodeType* type) {
  return api([&](Session&) { *type = type_of(node_of(node).task); });
}
SIM_API cudaError_t cudaGraphKernelNodeGetParams(cudaGraphNode_t node, cudaKernelNodeParams* p) {
  return api([&](Session&) {
    KernelTask& t = task_of<KernelTask>(node);
    const Program& program = runtime().program(*t.kernel, *node->device);
    node->pointers.clear();
    uint8_t* at = t.arguments.data();
    for (uint64_t size : program.param_sizes) {
      node->pointers.push_back(at);
      at += size;
    }
    const auto dim = [](const Dim3& d) { return dim3(d.x, d.y, d.z); };
    *p = {t.kernel, dim(t.shape.grid), dim(t.shape.block), t.shape.dynamic_bytes, node->pointers.data(), nullptr};
  });
}
SIM_API cudaError_t cudaGraphKernelNodeSetParams(cudaGraphNode_t node, const cudaKernelNodeParams* p) {
  return api([&](Session& s) {
    KernelTask& old = task_of<KernelTask>(node);
    KernelTask t = kernel_task(s, *p);
    t.shape.cluster = old.shape.cluster, t.cooperative = old.cooperative, t.priority = old.priority;
    old = std::move(t);
  });
}
SIM_API cudaError_t cudaGraphKernelNodeGetAttribute(cudaGraphNode_t node, cudaKernelNodeAttrID id, cudaKernelNodeAttrValue* value) {
  return api([&](Session&) {
    const KernelTask& t = task_of<KernelTask>(node);
    *value = {};
    if (id == cudaLaunchAttributeClusterDimension)
      value->clusterDim.x = t.shape.cluster.x, value->clusterDim.y = t.shape.cluster.y, value->clusterDim.z = t.shape.cluster.z;
    if (id == cudaLaunchAttributeCooperative) value->cooperative = t.cooperative;
    if (id == cudaLaunchAttributePriority) value->priority = t.priority;
  });
}
SIM_API cudaError_t cudaGraphKernelNodeSetAttribute(cudaGraphNode_t node, cudaKernelNodeAttrID id, const cudaKernelNodeAttrValue* value) {
  return api([&](Session&) {
    KernelTask& t = task_of<KernelTask>(node);
    if (id == cudaLaunchAttributeClusterDimension) t.shape.cluster = {value->clusterDim.x, value->clusterDim.y, value->clusterDim.z};
    if (id == cudaLaunchAttributeCooperative) t.cooperative = value->cooperative != 0;
    if (id == cudaLaunchAttributePriority) t.priority = value->priority;
  });
}
SIM_API cudaError_t cudaGraphKernelNodeCopyAttributes(cudaGraphNode_t to, cudaGraphNode_t from) {
  return api([&](Session&) {
    KernelTask& t = task_of<KernelTask>(to);
    const KernelTask& f = task_of<KernelTask>(from);
    t.shape.cluster = f.shape.cluster, t.cooperative = f.cooperative, t.priority = f.priority;
  });
}
SIM_API cudaError_t cudaGraphMemcpyNodeGetParams(cudaGraphNode_t node, cudaMemcpy3DParms* p) {
  return api([&](Session&) { *p = params_of(task_of<CopyTask>(node)); });
}
SIM_API cudaError_t cudaGraphMemcpyNodeSetParams(cudaGraphNode_t node, const cudaMemcpy3DParms* p) {
  return api([&](Session& s) { task_of<CopyTask>(node) = copy_task(s, *p); });
}
SIM_API cudaError_t cudaGraphMemcpyNodeSetParams1D(cudaGraphNode_t node, void* dst, const void* src, size_t bytes, cudaMemcpyKind kind) {
  return api([&](Session& s) {
    CopyTask c = flat_copy(dst, src, bytes, kind);
    check_copy(s.device, c);
    task_of<CopyTask>(node) = std::move(c);
  });
}
SIM_API cudaError_t cudaGraphMemsetNodeGetParams(cudaGraphNode_t node, cudaMemsetParams* p) {
  return api([&](Session&) {
    const FillTask& f = task_of<FillTask>(node);
    *p = {f.dst, f.pitch, f.value, f.element_bytes, f.width, f.height};
  });
}
SIM_API cudaError_t cudaGraphMemsetNodeSetParams(cudaGraphNode_t node, const cudaMemsetParams* p) {
  return api([&](Session&) { task_of<FillTask>(node) = fill_task(*p); });
}
SIM_API cudaError_t cudaGraphHostNodeGetParams(cudaGraphNode_t node, cudaHostNodeParams* p) {
  return api([&](Session&) { *p = {task_of<HostTask>(node).function, task_of<HostTask>(node).data}; });
}
SIM_API cudaError_t cudaGraphHostNodeSetParams(cudaGraphNode_t node, const cudaHostNodeParams* p) {
  return api([&](Session&) { task_of<HostTask>(node) = host_task(p->fn, p->userData); });
}
SIM_API cudaError_t cudaGraphChildGraphNodeGetGraph(cudaGraphNode_t node, cudaGraph_t* graph) {
  return api([&](Session&) {
    task_of<ChildTask>(node);
    *graph = node->child.get();
  });
}
SIM_API cudaError_t cudaGraphEventRecordNodeGetEvent(cudaGraphNode_t node, cudaEvent_t* event) {
  return api([&](Session&) { *event = task_of<RecordTask>(node).event; });
}
SIM_API cudaError_t cudaGraphEventRecordNodeSetEvent(cudaGraphNode_t node, cudaEvent_t event) {
  return api([&](Session&) { task_of<RecordTask>(node).event = &event_of(event); });
}
SIM_API cudaError_t cudaGraphEventWaitNodeGetEvent(cudaGraphNode_t node, cudaEvent_t* event) {
  return api([&](Session&) { *event = task_of<WaitTask>(node).event; });
}
SIM_API cudaError_t cudaGraphEventWaitNodeSetEvent(cudaGraphNode_t node, cudaEvent_t event) {
  return api([&](Session&) { task_of<WaitTask>(node).event = &event_of(event); });
}
SIM_API cudaError_t cudaGraphMemAllocNodeGetParams(cudaGraphNode_t node, cudaMemAllocNodeParams* p) {
  return api([&](Session&) {
    const AllocateTask& a = task_of<AllocateTask>(node);
    *p = {};
    p->poolProps.allocType = cudaMemAllocationTypePinned;
    p->poolProps.location = {cudaMemLocationTypeDevice, {a.device}};
    p->bytesize = a.bytes;
    p->dptr = reinterpret_cast<void*>(a.address);
  });
}
SIM_API cudaError_t cudaGraphMemFreeNodeGetParams(cudaGraphNode_t node, void* p) {
  return api([&](Session&) { *static_cast<void**>(p) = reinterpret_cast<void*>(task_of<FreeTask>(node).address); });
}
SIM_API cudaError_t cudaGraphNodeSetParams(cudaGraphNode_t node, cudaGraphNodeParams* p) {
  return api([&](Session& s) {
    CUgraphNode_st& n = node_of(node);
    require(type_of(n.task) == p->type);
    n.task = task_from(s, *p);
  });
}

// --------------------------------------------------------------------------------------------- edges

SIM_API cudaError_t cudaGraphGetNodes(cudaGraph_t graph, cudaGraphNode_t* nodes, size_t* count) {
  return api([&](Session&) {
    std::vector<cudaGraphNode_t> list;
    for (auto& n : graph_of(graph).nodes) list.push_back(n.get());
    give(list, nodes, count);
  });
}
SIM_API cudaError_t cudaGraphGetRootNodes(cudaGraph_t graph, cudaGraphNode_t* nodes, size_t* count) {
  return api([&](Session&) {
    std::vector<cudaGraphNode_t> list;
    for (auto& n : graph_of(graph).nodes)
      if (n->after.empty()) list.push_back(n.get());
    give(list, nodes, count);
  });
}
SIM_API cudaError_t cudaGraphGetEdges(cudaGraph_t graph, cudaGraphNode_t* from, cudaGraphNode_t* to, cudaGraphEdgeData* data,
                                      size_t* count) {
  return api([&](Session&) {
    std::vector<cudaGraphNode_t> froms, tos;
    for (auto& n : graph_of(graph).nodes)
      for (CUgraphNode_st* p : n->after) froms.push_back(p), tos.push_back(n.get());
    size_t same = count ? *count : 0;
    if (data) std::fill(data, data + same, cudaGraphEdgeData{});
    give(tos, to, &same);
    give(froms, from, count);
  });
}
SIM_API cudaError_t cudaGraphNodeGetDependencies(cudaGraphNode_t node, cudaGraphNode_t* nodes, cudaGraphEdgeData* data, size_t* count) {
  return api([&](Session&) {
    if (data) std::fill(data, data + *count, cudaGraphEdgeData{});
    give(std::vector<cudaGraphNode_t>(node_of(node).after), nodes, count);
  });
}
SIM_API cudaError_t cudaGraphNodeGetDependentNodes(cudaGraphNode_t node, cudaGraphNode_t* nodes, cudaGraphEdgeData* data, size_t* count) {
  return api([&](Session&) {
    if (data) std::fill(data, data + *count, cudaGraphEdgeData{});
    give(followers(node_of(node)), nodes, count);
  });
}
SIM_API cudaError_t cudaGraphAddDependencies(cudaGraph_t graph, const cudaGraphNode_t* from, const cudaGraphNode_t* to,
                                             const cudaGraphEdgeData*, size_t count) {
  return api([&](Session&) {
    CUgraph_st& g = graph_of(graph);
    for (size_t k = 0; k < count; ++k) {
      CUgraphNode_st &a = node_of(from[k]), &b = node_of(to[k]);
      require(a.graph == &g && b.graph == &g && std::find(b.after.begin(), b.after.end(), &a) == b.after.end());
      b.after.push_back(&a);
    }
  });
}
SIM_API cudaError_t cudaGraphRemoveDependencies(cudaGraph_t graph, const cudaGraphNode_t* from, const cudaGraphNode_t* to,
                                                const cudaGraphEdgeData*, size_t count) {
  return api([&](Session&) {
    CUgraph_st& g = graph_of(graph);
    for (size_t k = 0; k < count; ++k) {
      require(node_of(from[k]).graph == &g && node_of(to[k]).graph == &g);
      require(std::erase(to[k]->after, from[k]) == 1);
    }
  });
}
SIM_API cudaError_t cudaGraphDebugDotPrint(cudaGraph_t graph, const char* path, unsigned) {
  return api([&](Session&) {
    const CUgraph_st& g = graph_of(graph);
    FILE* file = fopen(path, "w");
    require(file, cudaErrorOperatingSystem);
    fprintf(file, "digraph {\n");
    for (auto& n : g.nodes) {
      const auto* kernel = std::get_if<KernelTask>(&n->task);
      fprintf(file, "  n%p [label=\"%d %s\"];\n", static_cast<void*>(n.get()), int(type_of(n->task)),
              kernel ? kernel->kernel->name.c_str() : "");
      for (CUgraphNode_st* p : n->after) fprintf(file, "  n%p -> n%p;\n", static_cast<void*>(p), static_cast<void*>(n.get()));
    }
    fprintf(file, "}\n");
    fclose(file);
  });
}

// -------------------------------------------------------------------------------------- user objects

namespace {

std::set<CUuserObject_st*>& objects() {
  static auto* set = new std::set<CUuserObject_st*>;
  return *set;
}
CUuserObject_st& object_of(cudaUserObject_t handle) {
  require(objects().count(handle));
  return *handle;
}

}  // namespace

void sim::release_object(CUuserObject_st& object, unsigned count) {
  object.references -= std::min(count, object.references);
  if (object.references) return;
  objects().erase(&object);
  add_work(*object.device, host_task(object.destroy, object.data), {});  // may not run under the caller's lock
  delete &object;
}

SIM_API cudaError_t cudaUserObjectCreate(cudaUserObject_t* out, void* data, cudaHostFn_t destroy, unsigned references, unsigned flags) {
  return api([&](Session& s) {
    require(out && destroy && references && flags == cudaUserObjectNoDestructorSync);
    *out = new CUuserObject_st{destroy, data, &s.device, references};
    objects().insert(*out);
  });
}
SIM_API cudaError_t cudaUserObjectRetain(cudaUserObject_t object, unsigned count) {
  return api([&](Session&) { object_of(object).references += count; });
}
SIM_API cudaError_t cudaUserObjectRelease(cudaUserObject_t object, unsigned count) {
  return api([&](Session&) {
    require(count <= object_of(object).references);
    release_object(*object, count);
  });
}
SIM_API cudaError_t cudaGraphRetainUserObject(cudaGraph_t graph, cudaUserObject_t object, unsigned count, unsigned flags) {
  return api([&](Session&) {
    CUuserObject_st& o = object_of(object);
    graph_of(graph).user_objects[&o] += count;
    if (!(flags & cudaGraphUserObjectMove)) o.references += count;
  });
}
SIM_API cudaError_t cudaGraphReleaseUserObject(cudaGraph_t graph, cudaUserObject_t object, unsigned count) {
  return api([&](Session&) {
    auto& held = graph_of(graph).user_objects;
    auto it = held.find(object);
    require(it != held.end() && count <= it->second);
    if ((it->second -= count) == 0) held.erase(it);
    release_object(*object, count);
  });
}
