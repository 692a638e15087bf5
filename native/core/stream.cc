#include "core/stream.h"

#include <chrono>
#include <exception>
#include <utility>

#include "core/pause.h"

namespace heddle {
Stream::Stream(Hooks hooks) : hooks_(std::move(hooks)), ring_(kSlots), worker_([this] { loop(); }) {}

Stream::~Stream() {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    stop_ = true;
  }
  wake_worker_.notify_one();
  worker_.join();
}

Stream::Task& Stream::claim() {
  const int64_t head = head_.load(std::memory_order_relaxed);
  if (head - tail_.load(std::memory_order_acquire) >= kSlots) {
    std::unique_lock<std::mutex> lock(mutex_);
    producer_sleeps_ = true;
    wake_producer_.wait(lock, [&] { return head - tail_.load() < kSlots; });
    producer_sleeps_ = false;
  }
  return ring_[head % kSlots];
}

void Stream::publish() {
  head_.fetch_add(1);
  if (worker_sleeps_.load()) {
    {
      std::lock_guard<std::mutex> lock(mutex_);
    }
    wake_worker_.notify_one();
  }
}

void Stream::replay(Recording& r) {
  Task& t = claim();
  t.op = "replay";
  t.always = false;
  t.run = nullptr;
  t.recording = &r;
  publish();
}

void Stream::release(std::unique_ptr<Recording> r) {
  enqueue_always("release recording", [owned = r.release()] { delete owned; });
}

void Stream::notify(std::function<void(StreamResult)> done) {
  Task& t = claim();
  t.op = "";
  t.run = nullptr;
  t.recording = nullptr;
  t.done = std::move(done);
  publish();
}

void Stream::wait() {
  struct {
    std::mutex mutex;
    std::condition_variable wake;
    bool done = false;
    StreamResult result;
  } box;
  notify([&box](StreamResult r) {
    std::lock_guard<std::mutex> lock(box.mutex);
    box.result = std::move(r);
    box.done = true;
    box.wake.notify_one();
  });
  std::unique_lock<std::mutex> lock(box.mutex);
  box.wake.wait(lock, [&] { return box.done; });
  if (box.result) throw OpError(box.result->message, box.result->code);
}

void Stream::time_ops() {
  enqueue_always("timeOps", [this] {
    op_times_.clear();
    times_ops_ = true;
  });
}

std::map<std::string, OpTime> Stream::take_op_times() {
  wait();  // and with nothing enqueued the worker touches nothing
  times_ops_ = false;
  return std::exchange(op_times_, {});
}

void Stream::set_hollow(bool on) {
  enqueue_always("setHollow", [this, on] { hollow_ = on; });
}

void Stream::execute(Task& t) {
  if (!t.run && !t.recording) {
    StreamResult result = std::exchange(error_, std::nullopt);
    if (hooks_.finish)
      if (StreamResult late = hooks_.finish(); late && !result) result = std::move(late);
    std::exchange(t.done, nullptr)(std::move(result));
    return;
  }
  if ((error_ || hollow_) && !t.always) return;
  if (t.recording)
    run(*t.recording);
  else
    run(t.op, t.run, t.payload);
}

void Stream::run(const char* op, void (*task)(void*), void* payload) {
  try {
    if (times_ops_) {
      const auto start = std::chrono::steady_clock::now();
      task(payload);
      OpTime& time = op_times_[op];
      time.count += 1;
      time.seconds += std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    } else {
      task(payload);
    }
  } catch (const OpError& e) {
    found({e.code, e.what()});
  } catch (const std::bad_alloc&) {
    found({ErrorCode::out_of_memory, std::string(op) + ": out of memory: the system has none left for scratch buffers"});
  } catch (const std::exception& e) {
    found({ErrorCode::internal, std::string(op) + ": " + e.what()});
  }
}

// What a device cannot capture still runs, task by task: that is slower and nothing else.
void Stream::run(Recording& r) {
  if (hooks_.capture && !std::exchange(r.tried, true)) {
    try {
      r.captured = hooks_.capture(r.name, [&r] {
        for (const Recording::Task& t : r.tasks()) t.run(r.payload(t));
      });
    } catch (const std::exception& e) {
      r.problem = e.what();
    }
  }
  if (r.captured) {
    run("replay", [](void* captured) { static_cast<Captured*>(captured)->launch(); }, r.captured.get());
    return;
  }
  for (const Recording::Task& t : r.tasks()) {
    if (error_) return;
    run(t.op, t.run, r.payload(t));
  }
}

// The first error is the one to tell.
void Stream::found(StreamError error) {
  if (!error_) error_ = std::move(error);
}

void Stream::loop() {
  if (hooks_.enter) hooks_.enter();
  for (Patience patience;;) {
    const int64_t tail = tail_.load(std::memory_order_relaxed);
    if (stop_.load(std::memory_order_relaxed)) break;
    if (tail == head_.load(std::memory_order_acquire)) {
      if (patience.wait()) continue;
      std::unique_lock<std::mutex> lock(mutex_);
      worker_sleeps_ = true;
      wake_worker_.wait(lock, [&] { return stop_.load() || head_.load() != tail; });
      worker_sleeps_ = false;
      patience.renew();
      continue;
    }
    patience.renew();
    execute(ring_[tail % kSlots]);
    tail_.store(tail + 1);
    if (producer_sleeps_.load()) {
      {
        std::lock_guard<std::mutex> lock(mutex_);
      }
      wake_producer_.notify_one();
    }
  }
  for (int64_t tail = tail_.load(); tail != head_.load(); ++tail) {
    Task& t = ring_[tail % kSlots];
    if (!t.run && !t.recording)
      t.done(StreamError{ErrorCode::device, "the device's stream has ended"});
    else if (t.always)
      execute(t);
  }
  if (hooks_.leave) hooks_.leave();
}

}  // namespace heddle
