// The order in which device work is executed.
#include "sim/cuda/work.h"

#include <algorithm>
#include <condition_variable>
#include <list>
#include <random>

#include "sim/cuda/graph.h"
#include "sim/cuda/memory.h"

namespace sim {
namespace {

constexpr size_t kQueueLimit = 1024;                   // then launches wait, as on a device
constexpr auto kIdle = std::chrono::milliseconds(20);  // a device gets on with its work although the host calls nothing

struct Scheduler {
  std::list<WorkRef> pending;  // in the order of the calls, so every predecessor stands before
  std::list<WorkRef> callbacks;
  int running = 0;  // host functions
  std::condition_variable changed, wake;
  std::mt19937_64 random;
  bool thread_started = false;
  uint64_t calls = 0;
  std::set<CUevent_st*> events;
};
Scheduler& scheduler() {
  static auto* s = new Scheduler;
  return *s;
}

uint64_t seed() { return runtime().devices.empty() ? 0 : runtime().devices[0]->machine.options.seed; }
bool lazy() { return seed() >= 2; }

bool ready(Work& w) {
  std::erase_if(w.after, [](const WorkRef& p) { return p->state == Work::Done; });
  return w.after.empty() && w.state == Work::Waiting;
}

void finish(Work& w) {
  w.state = Work::Done;
  w.time = std::chrono::steady_clock::now();
  w.after.clear();
  scheduler().changed.notify_all();
}

void callback_thread();

void start(const WorkRef& ref) {
  Work& w = *ref;
  if (auto* host = std::get_if<HostTask>(&w.task)) {
    if (w.device->sticky != cudaSuccess && !host->after_errors) return finish(w);
    w.state = Work::Running;
    ++scheduler().running;
    scheduler().callbacks.push_back(ref);
    scheduler().wake.notify_one();
    return;
  }
  w.state = Work::Running;
  execute(w);
  finish(w);
}

// Starts one pending work that may run and that `wanted` admits: the first, or any.
template <class Wanted>
bool start_one(bool any, Wanted&& wanted) {
  auto& pending = scheduler().pending;
  auto chosen = pending.end();
  uint64_t seen = 0;
  for (auto it = pending.begin(); it != pending.end(); ++it) {
    if (!wanted(**it) || !ready(**it)) continue;
    if (scheduler().random() % ++seen == 0) chosen = it;
    if (!any) break;
  }
  if (chosen == pending.end()) return false;
  const WorkRef work = *chosen;
  pending.erase(chosen);
  start(work);
  return true;
}
bool start_one(bool any) {
  return start_one(any, [](const Work&) { return true; });
}

void start_all_ready() {
  while (start_one(false)) {
  }
}

void ensure_thread() {
  if (std::exchange(scheduler().thread_started, true)) return;
  std::thread(callback_thread).detach();
}

// Calls the host functions, one after the other as CUDA permits, and lets lazily executed work proceed while the host is idle.
void callback_thread() {
  Scheduler& s = scheduler();
  std::unique_lock<std::mutex> lock(runtime().mutex);
  for (;;) {
    const uint64_t calls = s.calls;
    s.wake.wait_for(lock, kIdle, [&] { return !s.callbacks.empty(); });
    if (s.callbacks.empty()) {
      if (s.calls == calls && s.running == 0) start_one(seed() != 2);
      continue;
    }
    const WorkRef work = s.callbacks.front();
    s.callbacks.pop_front();
    const cudaError_t status = work->device->sticky;
    const auto call = std::get<HostTask>(work->task).call;
    lock.unlock();
    call(status);
    lock.lock();
    --s.running;
    finish(*work);
    if (!lazy()) start_all_ready();
  }
}

std::set<const Work*> ancestors(const WorkRef& last) {
  std::set<const Work*> found;
  std::vector<const Work*> open{last.get()};
  while (!open.empty()) {
    const Work* w = open.back();
    open.pop_back();
    if (!found.insert(w).second) continue;
    for (const WorkRef& p : w->after)
      if (p->state != Work::Done) open.push_back(p.get());
  }
  return found;
}

void check_implicit_capture(CUstream_st& stream) {
  if (&stream != stream.device->legacy) return;
  for (CUstream_st* other : stream.device->streams)
    if (other->capture && other->blocking()) {
      invalidate(*other->capture);
      refuse(cudaErrorStreamCaptureImplicit);
    }
}

}  // namespace

void advance(Session&) {
  Scheduler& s = scheduler();
  ++s.calls;
  if (!lazy()) return start_all_ready();
  while (s.pending.size() > kQueueLimit && start_one(false)) {
  }
  if (seed() == 2) return;  // as late as permitted
  for (uint64_t n = s.random() % 4; n > 1; --n) start_one(true);
}

WorkRef add_work(Device& d, Task task, std::vector<WorkRef> after) {
  auto w = std::make_shared<Work>();
  w->device = &d;
  w->task = std::move(task);
  w->after = std::move(after);
  std::erase(w->after, nullptr);
  if (std::holds_alternative<KernelTask>(w->task)) w->fault = ++runtime().launches == runtime().fault_at;
  if (lazy() || std::holds_alternative<HostTask>(w->task)) ensure_thread();
  if (scheduler().pending.empty()) scheduler().random.seed(scheduler().random() ^ seed());
  scheduler().pending.push_back(w);
  return w;
}

WorkRef enqueue(Session& s, CUstream_st& stream, Task task, std::vector<WorkRef> also_after) {
  if (stream.capture) {
    capture_task(stream, std::move(task));
    return nullptr;
  }
  check_implicit_capture(stream);
  Device& d = *stream.device;
  also_after.push_back(stream.last);
  // The legacy stream and the blocking streams of a device wait for each other.
  if (&stream == d.legacy) {
    for (CUstream_st* other : d.streams)
      if (other->blocking() && !other->capture) also_after.push_back(other->last);
  } else if (stream.blocking()) {
    also_after.push_back(d.legacy->last);
  }
  (void)s;
  return stream.last = add_work(d, std::move(task), std::move(also_after));
}

void wait_for(Session& s, const WorkRef& work) {
  if (!work) return;
  Scheduler& q = scheduler();
  while (work->state != Work::Done) {
    bool started = false;
    if (!lazy()) {
      started = start_one(false);
    } else if (seed() == 2 || q.random() % 2) {
      const auto needed = ancestors(work);
      started = start_one(seed() != 2, [&](const Work& w) { return needed.count(&w) != 0; });
    } else {
      started = start_one(true);
    }
    if (started) continue;
    if (work->state == Work::Done) break;
    if (!q.running) fail("a wait that can never end: nothing is running and no pending work may start");
    q.changed.wait(s.lock);
  }
}

void wait_for_device(Session& s, Device& d) {
  std::vector<WorkRef> all;
  for (CUstream_st* stream : d.streams) all.push_back(stream->last);
  for (const WorkRef& w : scheduler().pending)
    if (w->device == &d) all.push_back(w);
  for (const WorkRef& w : scheduler().callbacks)
    if (w->device == &d) all.push_back(w);
  for (const WorkRef& w : all) wait_for(s, w);
  for (auto& pool : d.pools) trim(*pool, pool->threshold);
}

bool finished(Session& s, const WorkRef& work) {
  advance(s);
  if (!work || work->state == Work::Done) return true;
  if (lazy() && scheduler().random() % 2) {
    const auto needed = ancestors(work);
    start_one(seed() != 2, [&](const Work& w) { return needed.count(&w) != 0; });
  }
  return work->state == Work::Done;
}

void raise_sticky(Device& d) {
  if (d.sticky == cudaSuccess) return;
  d.sticky_seen = true;
  refuse(d.sticky);
}

void forget_work(Device& d) {
  std::erase_if(scheduler().pending, [&](const WorkRef& w) {
    if (w->device != &d) return false;
    finish(*w);
    return true;
  });
}

// ------------------------------------------------------------------------------ streams and events

CUstream_st* new_stream(Device& d, unsigned flags, int priority) {
  static unsigned long long ids = 0;
  auto* stream = new CUstream_st;
  stream->device = &d;
  stream->flags = flags;
  stream->priority = priority;
  stream->id = ++ids;
  d.streams.insert(stream);
  return stream;
}

void delete_stream(CUstream_st* stream) {
  stream->device->streams.erase(stream);
  delete stream;
}

CUstream_st& stream_of(Session& s, cudaStream_t handle) {
  const bool per_thread = handle == cudaStreamPerThread || (!handle && this_thread().per_thread_default);
  if (per_thread) {
    auto& own = s.device.per_thread[std::this_thread::get_id()];
    if (!own) own = new_stream(s.device, cudaStreamDefault, 0);
    return *own;
  }
  if (!handle || handle == cudaStreamLegacy) return *s.device.legacy;
  for (auto& d : runtime().devices)
    if (d->streams.count(handle)) return *handle;
  refuse(cudaErrorInvalidResourceHandle);
}

CUevent_st* new_event(Device& d, unsigned flags) {
  auto* e = new CUevent_st;
  e->device = &d;
  e->flags = flags;
  scheduler().events.insert(e);
  return e;
}

void delete_event(CUevent_st* e) {
  scheduler().events.erase(e);
  delete e;
}

CUevent_st& event_of(cudaEvent_t handle) {
  require(scheduler().events.count(handle), cudaErrorInvalidResourceHandle);
  return *handle;
}

void destroy_streams_and_events(Device& d) {
  for (CUstream_st* stream : std::set<CUstream_st*>(d.streams)) delete_stream(stream);
  d.per_thread.clear();
  for (CUevent_st* e : std::set<CUevent_st*>(scheduler().events))
    if (e->device == &d) delete_event(e);
}

}  // namespace sim
