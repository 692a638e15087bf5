#pragma once
// Every device is a stream, the CPU too: ops enqueue, one worker thread executes in order, and only reading back waits.
// One producer (the JavaScript thread of the instance), one consumer (the worker).
#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <new>
#include <optional>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include "core/error.h"
#include "core/pages.h"
#include "core/recording.h"

namespace heddle {

// Found while executing; surfaces at the next wait. Kernels between the error and that wait are skipped.
struct StreamError {
  ErrorCode code;
  std::string message;
};
using StreamResult = std::optional<StreamError>;

struct OpTime {
  int64_t count = 0;
  double seconds = 0;
};

class Stream {
 public:
  // `enter` runs on the worker before its first task (thread pool, CUDA device), `finish` before a waiter is told that all
  // before it is done (a CUDA stream waits for the card; the CPU has nothing to do). `capture` makes what the tasks that it is given
  // would launch into something launched at once; a device without it runs a recording task by task.
  struct Hooks {
    std::function<void()> enter, leave;
    std::function<StreamResult()> finish;
    std::function<std::unique_ptr<Captured>(const std::string& name, const std::function<void()>& run_all)> capture = nullptr;
  };

  explicit Stream(Hooks hooks);
  ~Stream();  // drops what has not begun, but for what is to run always
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  // Runs f() on the worker, after everything enqueued before. f is plain data (an argument struct and a kernel): what it
  // points to must be device memory, which outlives it because memory is reused in stream order. May throw OpError.
  template <class F>
  void enqueue(const char* op, const F& f) {
    put(op, f, false);
  }

  // The same for what gives something back or must not be lost (freeing memory): runs even where an error makes kernels be
  // skipped, and when the stream ends.
  template <class F>
  void enqueue_always(const char* op, const F& f) {
    put(op, f, true);
  }

  // Notes what enqueue() is given from now on instead of running it. What is to run always, and waits, are no part of a recording: they
  // take their place in the stream as ever.
  void begin_recording(std::string name = "ops") { recording_ = std::make_unique<Recording>(std::move(name)); }
  std::unique_ptr<Recording> end_recording() { return std::move(recording_); }
  bool recording() const { return recording_ != nullptr; }

  // Runs a recording as one task. The first error ends it, and it names the op as ever. A recording lives until release(), which frees it
  // when all that was enqueued before is done.
  void replay(Recording& r);
  void release(std::unique_ptr<Recording> r);

  // Calls done(error) on the worker when everything before is done. Takes the error: the next wait starts afresh. When the
  // stream ends first, done gets an error that says so.
  void notify(std::function<void(StreamResult)> done);

  // Waits here. Throws the error that executing found.
  void wait();

  // Times every task from now on, by the name of its op, until take_op_times; what a GPU's stream shows is the time to launch.
  void time_ops();
  std::map<std::string, OpTime> take_op_times();  // waits; throws the error that executing found

  // From now on tasks are dropped instead of run, but for what is to run always: what is left of a step's time is that of
  // enqueueing it. Results are whatever memory holds.
  void set_hollow(bool on);

  // The error for which tasks are being skipped. On the worker only: for tasks that run always and tell others.
  const StreamResult& error() const { return error_; }

  int64_t pending() const { return head_.load() - tail_.load(); }

 private:
  static constexpr size_t kPayload = 640;
  static constexpr int64_t kSlots = 4096;  // a producer further ahead than this waits: more than a training step has ops
  struct Task {
    const char* op;
    bool always;
    void (*run)(void*);    // null: a recording or a notification
    Recording* recording;  // null: none
    alignas(16) unsigned char payload[kPayload];
    std::function<void(StreamResult)> done;
  };

  template <class F>
  void put(const char* op, const F& f, bool always) {
    static_assert(std::is_trivially_copyable_v<F> && sizeof(F) <= kPayload, "tasks are plain data");
    if (recording_ && !always) {
      recording_->add(op, f);
      return;
    }
    Task& t = claim();
    t.op = op;
    t.recording = nullptr;
    t.always = always;
    t.run = [](void* p) { (*std::launder(static_cast<F*>(p)))(); };
    new (t.payload) F(f);
    publish();
  }

  Task& claim();
  void publish();
  void loop();
  void execute(Task& t);
  void run(const char* op, void (*task)(void*), void* payload);
  void run(Recording& r);
  void found(StreamError error);

  Hooks hooks_;
  std::vector<Task, PageAllocator<Task>> ring_;
  std::unique_ptr<Recording> recording_;    // under way; the producer's
  std::atomic<int64_t> head_{0}, tail_{0};  // next to write, next to run
  std::atomic<bool> stop_{false}, worker_sleeps_{false}, producer_sleeps_{false};
  std::mutex mutex_;
  std::condition_variable wake_worker_, wake_producer_;
  StreamResult error_;  // these four: worker only
  std::map<std::string, OpTime> op_times_;
  bool times_ops_ = false, hollow_ = false;
  std::thread worker_;
};

}  // namespace heddle
