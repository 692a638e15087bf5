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

}  // namespace

int main() {
  order();
  full_ring();
  errors();
  notifications();
  hooks_run_on_the_worker();
  for (int i = 0; i < 5; ++i) destruction();
  sleeping_and_waking();
  return check::result();
}
