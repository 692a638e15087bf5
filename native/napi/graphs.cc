#include "napi/graphs.h"

#include <utility>

#include "core/stream.h"
#include "ops/check.h"

namespace heddle {

GraphTable::Graph& GraphTable::find(int64_t graph) {
  const auto it = graphs_.find(graph);
  if (it == graphs_.end()) fail("graph is one that was disposed, or one of another thread", ErrorCode::disposed);
  return it->second;
}

void GraphTable::begin(Device* device, int64_t shared, const std::string& name) {
  if (under_way_) fail("a capture on " + under_way_->device->name + " is under way; one within it is not possible", ErrorCode::capturing);
  std::shared_ptr<Pool> pool = shared ? find(shared).pool : std::make_shared<Pool>(device, ++pools_);
  if (pool->device != device) fail("shared must be a graph on " + device->name + ", got one on " + pool->device->name);
  under_way_ = std::move(pool);
  device->memory->use_pool(under_way_->number);
  device->stream->begin_recording(name);
}

std::unique_ptr<Recording> GraphTable::stop() {
  if (!under_way_) fail("no capture is under way", ErrorCode::capturing);
  under_way_->device->memory->use_pool(0);
  return under_way_->device->stream->end_recording();
}

int64_t GraphTable::end() {
  std::unique_ptr<Recording> tasks = stop();
  graphs_[++made_] = {std::exchange(under_way_, nullptr), std::move(tasks)};
  return made_;
}

void GraphTable::drop() {
  stop();
  under_way_ = nullptr;
}

void GraphTable::replay(int64_t graph) {
  const Graph& g = find(graph);
  require_not_capturing(*g.pool->device);
  g.pool->device->stream->replay(*g.tasks);
}

void GraphTable::release(int64_t graph) {
  Graph& g = find(graph);
  g.pool->device->stream->release(std::move(g.tasks));
  graphs_.erase(graph);
}

const Recording& GraphTable::inspect(int64_t graph) {
  const Graph& g = find(graph);
  require_not_capturing(*g.pool->device);
  g.pool->device->stream->wait();
  return *g.tasks;
}

void GraphTable::clear() {
  if (under_way_) drop();
  while (!graphs_.empty()) release(graphs_.begin()->first);
}

}  // namespace heddle
