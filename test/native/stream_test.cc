// The stream: order, errors, notifications, a full ring, and an end with work still waiting.
#include "core/stream.h"

#include <atomic>
#include <chrono>
#include <optional>
#include <thread>

#include "check.h"

using heddle::ErrorCode;
using heddle::OpError;
using heddle::Stream;
using heddle::StreamError;
using heddle::StreamResult;

namespace {

void sleep_ms(int ms) { std::this_thread::sleep_for(std::chrono::milliseconds(ms)); }

// The message with which wait() throws, or "".
std::string wait(Stream& s) {
  return check::error_of([&] { s.wait(); });
}

void order() {
  Stream s(Stream::Hooks{});
  constexpr int64_t kTasks = 20000;  // several times around the ring
  std::vector<int64_t> seen;
  seen.reserve(kTasks);
  for (int64_t i = 0; i < kTasks; ++i) s.enqueue("push", [p = &seen, i] { p->push_back(i); });
  s.wait();
  CHECK(seen.size() == kTasks);
  bool in_order = true;
  for (int64_t i = 0; i < kTasks; ++i) in_order = in_order && seen[static_cast<size_t>(i)] == i;
  CHECK(in_order);
}

// The producer waits when the ring is full, and does not deadlock with a worker that is slow.
void full_ring() {
  Stream s(Stream::Hooks{});
  std::atomic<int64_t> done{0};
  s.enqueue("slow", [] { sleep_ms(30); });
  int64_t most = 0;
  for (int i = 0; i < 10000; ++i) {
    s.enqueue("count", [p = &done] { ++*p; });
    most = std::max(most, s.pending());
  }
  CHECK(most > 1000);
  CHECK(most <= 4096);
  s.wait();
  CHECK(done == 10000);
}

void errors() {
  Stream s(Stream::Hooks{});
  std::atomic<int> ran{0}, always{0};
  s.enqueue("first", [p = &ran] { ++*p; });
  s.enqueue("bad", [] { throw OpError("bad: id 7 is out of range", ErrorCode::device); });
  s.enqueue("skipped", [p = &ran] { ++*p; });
  s.enqueue_always("kept", [p = &always] { ++*p; });
  s.enqueue("later", [] { throw OpError("a later error", ErrorCode::internal); });
  ErrorCode code{};
  std::string message;
  try {
    s.wait();
  } catch (const OpError& e) {
    code = e.code;
    message = e.what();
  }
  CHECK(message == "bad: id 7 is out of range");
  CHECK(code == ErrorCode::device);
  CHECK(ran == 1);
  CHECK(always == 1);
  // Gone: the stream goes on.
  s.enqueue("next", [p = &ran] { ++*p; });
  CHECK(wait(s).empty());
  CHECK(ran == 2);

  s.enqueue("alloc", [] { throw std::bad_alloc(); });
  CHECK(wait(s) == "alloc: out of memory: the system has none left for scratch buffers");
  s.enqueue("std", [] { throw std::runtime_error("why"); });
  CHECK(wait(s) == "std: why");
  // An error of what always runs does not hide the one before it.
  s.enqueue("bad", [] { throw OpError("the first"); });
  s.enqueue_always("kept", [] { throw OpError("the second"); });
  CHECK(wait(s) == "the first");
}

void notifications() {
  std::atomic<int> finished{0};
  std::atomic<bool> late{false};
  Stream::Hooks hooks;
  hooks.finish = [&]() -> StreamResult {
    ++finished;
    if (late.exchange(false)) return StreamError{ErrorCode::device, "found by the device"};
    return std::nullopt;
  };
  Stream s(std::move(hooks));
  std::vector<std::string> told;  // by the worker, one after the other
  const auto tell = [&](StreamResult r) { told.push_back(r ? r->message : "fine"); };
  s.notify(tell);
  s.enqueue("bad", [] { throw OpError("broken"); });
  s.notify(tell);
  s.notify(tell);
  s.wait();
  late = true;
  s.notify(tell);
  s.wait();
  CHECK(told == (std::vector<std::string>{"fine", "broken", "fine", "found by the device"}));
  CHECK(finished == 6);
}

void hooks_run_on_the_worker() {
  std::thread::id enter, task, leave;
  {
    Stream::Hooks hooks;
    hooks.enter = [&] { enter = std::this_thread::get_id(); };
    hooks.leave = [&] { leave = std::this_thread::get_id(); };
    Stream s(std::move(hooks));
    s.enqueue("id", [p = &task] { *p = std::this_thread::get_id(); });
    s.wait();
  }
  CHECK(enter == task);
  CHECK(leave == task);
  CHECK(enter != std::this_thread::get_id());
}

// Destruction waits for the task that runs, drops the others, tells the waiters, and gives memory back.
void destruction() {
  std::atomic<int> begun{0}, ran{0}, always{0}, told{0};
  std::string message;
  {
    Stream s(Stream::Hooks{});
    s.enqueue("slow", [b = &begun, p = &ran] {
      ++*b;
      sleep_ms(50);
      ++*p;
    });
    while (!begun) sleep_ms(1);
    for (int i = 0; i < 100; ++i) s.enqueue("dropped", [p = &ran] { *p += 1000; });
    s.enqueue_always("free", [p = &always] { ++*p; });
    s.notify([&](StreamResult r) {
      message = r ? r->message : "fine";
      ++told;
    });
  }
  CHECK(ran == 1);
  CHECK(always == 1);
  CHECK(told == 1);
  CHECK(message == "the device's stream has ended");
}

// A sleeping worker is woken, however the moments fall.
void sleeping_and_waking() {
  Stream s(Stream::Hooks{});
  std::atomic<int> done{0};
  check::Rng rng(7);
  for (int i = 0; i < 300; ++i) {
    s.enqueue("count", [p = &done] { ++*p; });
    if (rng.below(3) == 0) s.wait();
    if (rng.below(8) == 0) std::this_thread::sleep_for(std::chrono::microseconds(rng.below(400)));
  }
  s.wait();
  CHECK(done == 300);
}

// What is recorded runs when it is replayed and never else; what is to run always runs at once.
void recordings() {
  std::vector<int> seen;
  {
    Stream s(Stream::Hooks{});
    int always = 0;
    s.begin_recording();
    CHECK(s.recording());
    for (int i = 0; i < 3; ++i) s.enqueue("push", [p = &seen, i] { p->push_back(i); });
    s.enqueue_always("kept", [p = &always] { ++*p; });
    std::unique_ptr<heddle::Recording> r = s.end_recording();
    CHECK(!s.recording());
    s.wait();
    CHECK(seen.empty() && always == 1);
    CHECK(r->tasks().size() == 3);
    s.replay(*r);
    s.enqueue("push", [p = &seen] { p->push_back(9); });
    s.replay(*r);
    s.wait();
    CHECK(seen == (std::vector<int>{0, 1, 2, 9, 0, 1, 2}));
    CHECK(!r->captured && r->problem.empty());

    // An error names its op, ends the replay, and is gone after the wait.
    bool broken = true;
    s.begin_recording();
    s.enqueue("bad", [b = &broken] {
      if (*b) throw OpError("bad: id 7 is out of range");
    });
    s.enqueue("push", [p = &seen] { p->push_back(5); });
    std::unique_ptr<heddle::Recording> faulty = s.end_recording();
    seen.clear();
    s.replay(*faulty);
    s.replay(*r);
    CHECK(wait(s) == "bad: id 7 is out of range");
    CHECK(seen.empty());
    broken = false;
    s.replay(*faulty);
    s.wait();
    CHECK(seen == std::vector<int>{5});

    // Times are those of the ops within.
    s.time_ops();
    s.replay(*r);
    const auto times = s.take_op_times();
    CHECK(times.size() == 1 && times.at("push").count == 3);

    // A recording that is dropped leaves nothing; one that is released runs what was enqueued before.
    s.begin_recording();
    s.enqueue("push", [p = &seen] { p->push_back(7); });
    s.end_recording();
    seen.clear();
    s.replay(*r);
    s.release(std::move(r));
    s.release(std::move(faulty));
    s.wait();
    CHECK(seen == (std::vector<int>{0, 1, 2}));
    s.begin_recording();
    s.enqueue("push", [p = &seen] { p->push_back(8); });
    s.replay(*(r = s.end_recording()));
    s.release(std::move(r));
  }
}

// A device that captures launches what it made; what it refuses to capture runs task by task.
void captures() {
  struct Fake : heddle::Captured {
    std::vector<int>* seen;
    explicit Fake(std::vector<int>* s) : seen(s) {}
    void launch() override { seen->push_back(-1); }
  };
  std::vector<int> seen;
  int asked = 0;
  bool refuse = false;
  Stream::Hooks hooks;
  hooks.capture = [&](const std::string& name, const std::function<void()>& run_all) -> std::unique_ptr<heddle::Captured> {
    CHECK(name == "a push");
    ++asked;
    run_all();
    if (refuse) throw OpError("this cannot be captured", ErrorCode::device);
    return std::make_unique<Fake>(&seen);
  };
  Stream s(std::move(hooks));
  const auto record = [&] {
    s.begin_recording("a push");
    s.enqueue("push", [p = &seen] { p->push_back(1); });
    return s.end_recording();
  };
  auto good = record();
  s.replay(*good);
  s.replay(*good);
  s.wait();
  CHECK(asked == 1);
  CHECK(seen == (std::vector<int>{1, -1, -1}));  // captured by running it, here
  refuse = true;
  seen.clear();
  auto bad = record();
  s.replay(*bad);
  s.replay(*bad);
  s.wait();
  CHECK(asked == 2 && bad->problem == "this cannot be captured");
  CHECK(seen == (std::vector<int>{1, 1, 1}));
  s.release(std::move(good));
  s.release(std::move(bad));
}

}  // namespace

int main() {
  order();
  recordings();
  captures();
  full_ring();
  errors();
  notifications();
  hooks_run_on_the_worker();
  for (int i = 0; i < 5; ++i) destruction();
  sleeping_and_waking();
  return check::result();
}
