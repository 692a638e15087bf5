// The thread pool: every item once, exceptions, nesting, many tiny jobs, helpers that sleep, more threads than processors.
#include "cpu/host/pool.h"

#include <atomic>
#include <chrono>
#include <memory>
#include <thread>

#include "check.h"
#include "cpu/host/thread_pool.h"

using heddle::cpu::pool_run;
using heddle::cpu::pool_scratch;
using heddle::cpu::pool_threads;
using heddle::cpu::ThreadPool;

namespace {

template <class F>
void run(int64_t items, F f) {
  pool_run(items, [](void* context, int64_t item) { (*static_cast<F*>(context))(item); }, &f);
}

bool each_once(int64_t items) {
  std::vector<std::atomic<int>> seen(static_cast<size_t>(items));
  run(items, [&](int64_t i) { ++seen[static_cast<size_t>(i)]; });
  for (const auto& n : seen)
    if (n != 1) return false;
  return true;
}

void without_a_pool() {
  std::thread([] {
    CHECK(pool_threads() == 1);
    CHECK(each_once(100));
  }).join();
}

void items(int threads) {
  std::thread([threads] {
    ThreadPool pool(threads);
    pool.make_current();
    CHECK(pool.threads() == threads);
    CHECK(pool_threads() == threads);
    for (const int64_t n : {0, 1, 2, 3, 7, 64, 1000}) CHECK_MSG(each_once(n), "%d threads, %d items", threads, static_cast<int>(n));
  }).join();
}

// All items are tried; the exception of the lowest one comes through; the pool goes on.
void exceptions(int threads) {
  std::thread([threads] {
    ThreadPool pool(threads);
    pool.make_current();
    for (int round = 0; round < 20; ++round) {
      std::atomic<int> ran{0};
      const std::string message = check::error_of([&] {
        run(50, [&](int64_t i) {
          ++ran;
          if (i >= 10 && i % 5 == 0) throw heddle::OpError("item " + std::to_string(i));
        });
      });
      CHECK_MSG(message == "item 10", "%s", message.c_str());
      if (threads > 1) CHECK(ran == 50);
    }
    CHECK(each_once(100));
  }).join();
}

// A job inside an item runs on the thread of the item.
void nesting() {
  std::thread([] {
    ThreadPool pool(3);
    pool.make_current();
    std::atomic<int> inner{0}, strays{0}, alone{0};
    run(20, [&](int64_t) {
      const auto here = std::this_thread::get_id();
      if (pool_threads() == 1) ++alone;
      run(10, [&](int64_t) {
        ++inner;
        if (std::this_thread::get_id() != here) ++strays;
      });
    });
    CHECK(alone == 20);
    CHECK(inner == 200);
    CHECK(strays == 0);
    CHECK(pool_threads() == 3);
  }).join();
}

void tiny_jobs(int threads, int jobs) {
  std::thread([=] {
    ThreadPool pool(threads);
    pool.make_current();
    int64_t sum = 0;
    for (int job = 0; job < jobs; ++job) {
      std::atomic<int64_t> part{0};  // on this frame: a helper that came late would write to the next job's
      run(2 + job % 5, [&](int64_t i) { part += i + 1; });
      sum += part;
    }
    int64_t expected = 0;
    for (int job = 0; job < jobs; ++job) expected += (2 + job % 5) * (3 + job % 5) / 2;
    CHECK(sum == expected);
  }).join();
}

// Helpers fall asleep between jobs and are there again for the next: two items that wait for each other need two threads.
void sleeping_helpers() {
  std::thread([] {
    ThreadPool pool(2);
    pool.make_current();
    for (const int ms : {0, 1, 30, 2, 60}) {
      std::this_thread::sleep_for(std::chrono::milliseconds(ms));
      std::atomic<int> here{0};
      bool met[2] = {};
      run(2, [&](int64_t i) {
        ++here;
        const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(20);
        while (here < 2 && std::chrono::steady_clock::now() < end) std::this_thread::yield();
        met[i] = here == 2;
      });
      CHECK_MSG(met[0] && met[1], "after %d ms", ms);
    }
  }).join();
}

void scratch() {
  std::thread([] {
    ThreadPool pool(3);
    pool.make_current();
    std::atomic<int> wrong{0};
    run(200, [&](int64_t i) {
      const auto floats = static_cast<size_t>(1 + i * 37);
      float* p = pool_scratch(1, floats);
      float* q = pool_scratch(2, floats);
      if (reinterpret_cast<uintptr_t>(p) % 64 || p == q) ++wrong;
      for (size_t j = 0; j < floats; ++j) p[j] = static_cast<float>(i);
      for (size_t j = 0; j < floats; ++j) q[j] = -1;
      for (size_t j = 0; j < floats; ++j)
        if (p[j] != static_cast<float>(i)) ++wrong;
    });
    CHECK(wrong == 0);
    float* p = pool_scratch(1, 100000);
    CHECK(pool_scratch(1, 50) == p);  // kept until it is asked to grow
  }).join();
}

// The n-th scratch buffer is not there, whichever thread asks for it; the one after is.
void scratch_fails() {
  std::thread([] {
    ThreadPool pool(3);
    pool.make_current();
    for (const int64_t n : {1, 2, 50, 100}) {
      pool.fail_scratch_at(n);
      std::atomic<int> got{0};
      bool failed = false;
      try {
        run(100, [&](int64_t) {
          pool_scratch(0, 100);
          ++got;
        });
      } catch (const std::bad_alloc&) {
        failed = true;
      }
      CHECK_MSG(failed && got == 99, "%d: %d", static_cast<int>(n), got.load());
      CHECK(pool_scratch(0, 100) != nullptr);
    }
  }).join();
}

// Pools of several streams side by side do not disturb each other.
void several_pools() {
  std::vector<std::thread> streams;
  std::atomic<int> good{0};
  for (int s = 0; s < 3; ++s)
    streams.emplace_back([&] {
      ThreadPool pool(2);
      pool.make_current();
      bool ok = true;
      for (int i = 0; i < 200; ++i) ok = each_once(17) && ok;
      if (ok) ++good;
    });
  for (auto& t : streams) t.join();
  CHECK(good == 3);
}

}  // namespace

int main() {
  without_a_pool();
  for (const int threads : {1, 2, 3, 8}) {
    items(threads);
    exceptions(threads);
  }
  nesting();
  tiny_jobs(2, 20000);
  tiny_jobs(8, 2000);  // more threads than processors
  sleeping_helpers();
  scratch();
  scratch_fails();
  several_pools();
  for (int i = 0; i < 20; ++i) ThreadPool unused(4);  // ends without ever having run
  return check::result();
}
