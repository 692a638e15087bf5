// Graphs as data, and stream capture.
#include <algorithm>

#include "sim/cuda/graph.h"

namespace sim {
namespace {

std::set<CUgraph_st*>& graphs() {  // every live one, child graphs included
  static auto* set = new std::set<CUgraph_st*>;
  return *set;
}
std::set<std::weak_ptr<Capture>, std::owner_less<>>& captures() {
  static auto* set = new std::set<std::weak_ptr<Capture>, std::owner_less<>>;
  return *set;
}

}  // namespace

CUgraphNode_st* add_node(CUgraph_st& graph, Device& d, Task task, std::vector<CUgraphNode_st*> after) {
  for (CUgraphNode_st* n : after) require(n && n->graph == &graph);
  auto node = std::make_unique<CUgraphNode_st>();
  node->graph = &graph;
  node->device = &d;
  node->task = std::move(task);
  node->after = std::move(after);
  graph.nodes.push_back(std::move(node));
  return graph.nodes.back().get();
}

void remember_graph(CUgraph_st* graph) { graphs().insert(graph); }

CUgraph_st& graph_of(cudaGraph_t handle) {
  require(graphs().count(handle));
  return *handle;
}

CUgraphNode_st& node_of(cudaGraphNode_t handle) {
  for (CUgraph_st* g : graphs())
    for (auto& n : g->nodes)
      if (n.get() == handle) return *n;
  refuse(cudaErrorInvalidValue);
}

void forget_graph(CUgraph_st* graph) { graphs().erase(graph); }

std::vector<CUgraphNode_st*> in_order(const CUgraph_st& graph) {
  std::map<const CUgraphNode_st*, size_t> missing;  // predecessors not yet in the list
  std::map<const CUgraphNode_st*, std::vector<CUgraphNode_st*>> followers;
  std::vector<CUgraphNode_st*> order;
  for (auto& n : graph.nodes) {
    missing[n.get()] = n->after.size();
    for (CUgraphNode_st* p : n->after) followers[p].push_back(n.get());
    if (n->after.empty()) order.push_back(n.get());
  }
  for (size_t k = 0; k < order.size(); ++k)
    for (CUgraphNode_st* next : followers[order[k]])
      if (--missing[next] == 0) order.push_back(next);
  require(order.size() == graph.nodes.size());
  return order;
}

std::unique_ptr<CUgraph_st> clone_graph(const CUgraph_st& graph) {
  auto copy = std::make_unique<CUgraph_st>();
  std::map<const CUgraphNode_st*, CUgraphNode_st*> twin;
  for (auto& n : graph.nodes) {
    auto node = std::make_unique<CUgraphNode_st>();
    node->graph = copy.get();
    node->device = n->device;
    node->task = n->task;
    node->enabled = n->enabled;
    node->original = n.get();
    if (n->child) {
      node->child = clone_graph(*n->child);
      node->child->parent = node.get();
      graphs().insert(node->child.get());
    }
    twin[n.get()] = node.get();
    copy->nodes.push_back(std::move(node));
  }
  for (auto& n : copy->nodes)
    for (CUgraphNode_st* p : n->original->after) n->after.push_back(twin.at(p));
  copy->user_objects = graph.user_objects;
  for (auto& [object, count] : copy->user_objects) object->references += count;
  return copy;
}

// ------------------------------------------------------------------------------------------ capture

void invalidate(Capture& capture) { capture.invalid = true; }

void capture_task(CUstream_st& stream, Task task) {
  Capture& c = *stream.capture;
  require(!c.invalid, cudaErrorStreamCaptureInvalidated);
  CUgraphNode_st* node = add_node(*c.graph, *stream.device, std::move(task), stream.nodes);
  stream.nodes = {node};
}

void join_capture(CUstream_st& stream, const CUevent_st& event) {
  require(!event.capture->invalid, cudaErrorStreamCaptureInvalidated);
  require(event.capture->graph, cudaErrorCapturedEvent);  // that capture has ended
  if (!stream.capture) {
    require(&stream != stream.device->legacy, cudaErrorStreamCaptureUnsupported);
    stream.capture = event.capture;
    stream.nodes.clear();
  } else if (stream.capture != event.capture) {
    invalidate(*stream.capture);
    invalidate(*event.capture);
    refuse(cudaErrorStreamCaptureMerge);
  }
  for (CUgraphNode_st* n : event.nodes)
    if (std::find(stream.nodes.begin(), stream.nodes.end(), n) == stream.nodes.end()) stream.nodes.push_back(n);
}

// A capture in global mode forbids unsafe calls to every thread, one in thread-local mode to its own; a thread may relax that for itself.
void forbid_while_capturing() {
  if (this_thread().capture_mode == cudaStreamCaptureModeRelaxed) return;
  for (auto it = captures().begin(); it != captures().end();) {
    const auto c = it->lock();
    if (!c || !c->graph) {
      it = captures().erase(it);
      continue;
    }
    const bool own = c->thread == std::this_thread::get_id();
    const bool forbidden = c->mode == cudaStreamCaptureModeGlobal ? own || this_thread().capture_mode == cudaStreamCaptureModeGlobal
                                                                  : c->mode == cudaStreamCaptureModeThreadLocal && own;
    if (forbidden) {
      invalidate(*c);
      refuse(cudaErrorStreamCaptureUnsupported);
    }
    ++it;
  }
}

namespace {

void begin_capture(CUstream_st& stream, cudaStreamCaptureMode mode, CUgraph_st* graph) {
  static unsigned long long ids = 0;
  require(&stream != stream.device->legacy, cudaErrorStreamCaptureUnsupported);
  require(!stream.capture, cudaErrorIllegalState);
  auto c = std::make_shared<Capture>();
  if (!graph) {
    c->own = std::make_unique<CUgraph_st>();
    graphs().insert(c->own.get());
  }
  c->graph = graph ? graph : c->own.get();
  c->origin = &stream;
  c->mode = mode;
  c->thread = std::this_thread::get_id();
  c->id = ++ids;
  stream.capture = c;
  stream.nodes.clear();
  captures().insert(c);
}

// Whether all nodes at the streams' ends are among the predecessors of the origin's end.
bool joined(const Capture& c) {
  std::set<const CUgraphNode_st*> reached;
  std::vector<const CUgraphNode_st*> open(c.origin->nodes.begin(), c.origin->nodes.end());
  while (!open.empty()) {
    const CUgraphNode_st* n = open.back();
    open.pop_back();
    if (reached.insert(n).second) open.insert(open.end(), n->after.begin(), n->after.end());
  }
  for (auto& d : runtime().devices)
    for (CUstream_st* stream : d->streams)
      if (stream->capture.get() == &c)
        for (CUgraphNode_st* n : stream->nodes)
          if (!reached.count(n)) return false;
  return true;
}

}  // namespace
}  // namespace sim

using namespace sim;

CUgraphNode_st::~CUgraphNode_st() {
  if (child) forget_graph(child.get());
}
CUgraph_st::~CUgraph_st() {
  for (auto& [object, count] : user_objects) release_object(*object, count);
}

SIM_API cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode mode) {
  return api([&](Session& s) { begin_capture(stream_of(s, stream), mode, nullptr); });
}
SIM_API cudaError_t cudaStreamBeginCaptureToGraph(cudaStream_t stream, cudaGraph_t graph, const cudaGraphNode_t* nodes,
                                                  const cudaGraphEdgeData*, size_t n, cudaStreamCaptureMode mode) {
  return api([&](Session& s) {
    CUstream_st& st = stream_of(s, stream);
    begin_capture(st, mode, &graph_of(graph));
    st.nodes.assign(nodes, nodes + n);
  });
}
SIM_API cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  return api([&](Session& s) {
    CUstream_st& st = stream_of(s, stream);
    if (graph) *graph = nullptr;
    require(st.capture && st.capture->origin == &st, cudaErrorStreamCaptureUnmatched);
    const std::shared_ptr<Capture> c = st.capture;
    require(c->mode == cudaStreamCaptureModeRelaxed || c->thread == std::this_thread::get_id(), cudaErrorStreamCaptureWrongThread);
    const bool complete = joined(*c);
    for (auto& d : runtime().devices)
      for (CUstream_st* other : d->streams)
        if (other->capture == c) {
          other->capture.reset();
          other->nodes.clear();
        }
    CUgraph_st* made = std::exchange(c->graph, nullptr);
    if (c->own && (c->invalid || !complete)) graphs().erase(c->own.get());
    require(!c->invalid, cudaErrorStreamCaptureInvalidated);
    require(complete, cudaErrorStreamCaptureUnjoined);
    if (graph) *graph = made;
    c->own.release();
  });
}
SIM_API cudaError_t cudaStreamIsCapturing(cudaStream_t stream, cudaStreamCaptureStatus* status) {
  return api([&](Session& s) {
    CUstream_st& st = stream_of(s, stream);
    *status = !st.capture           ? cudaStreamCaptureStatusNone
              : st.capture->invalid ? cudaStreamCaptureStatusInvalidated
                                    : cudaStreamCaptureStatusActive;
  });
}
SIM_API cudaError_t cudaStreamGetCaptureInfo(cudaStream_t stream, cudaStreamCaptureStatus* status, unsigned long long* id,
                                             cudaGraph_t* graph, const cudaGraphNode_t** nodes, const cudaGraphEdgeData** edges,
                                             size_t* count) {
  return api([&](Session& s) {
    CUstream_st& st = stream_of(s, stream);
    *status = !st.capture           ? cudaStreamCaptureStatusNone
              : st.capture->invalid ? cudaStreamCaptureStatusInvalidated
                                    : cudaStreamCaptureStatusActive;
    if (!st.capture) return;
    if (id) *id = st.capture->id;
    if (graph) *graph = st.capture->graph;
    if (nodes) *nodes = st.nodes.data();
    if (edges) *edges = nullptr;
    if (count) *count = st.nodes.size();
  });
}
SIM_API cudaError_t cudaStreamUpdateCaptureDependencies(cudaStream_t stream, cudaGraphNode_t* nodes, const cudaGraphEdgeData*, size_t count,
                                                        unsigned flags) {
  return api([&](Session& s) {
    CUstream_st& st = stream_of(s, stream);
    require(st.capture != nullptr, cudaErrorIllegalState);
    if (flags == cudaStreamSetCaptureDependencies) st.nodes.clear();
    for (size_t n = 0; n < count; ++n) st.nodes.push_back(&node_of(nodes[n]));
  });
}
SIM_API cudaError_t cudaThreadExchangeStreamCaptureMode(cudaStreamCaptureMode* mode) {
  return query([&] { std::swap(this_thread().capture_mode, *mode); });
}
