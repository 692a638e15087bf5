#pragma once
// The threads behind pool_run (pool.h). One pool belongs to one CPU stream; the stream's worker is its first thread.
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

namespace heddle::cpu {

class ThreadPool {
 public:
  explicit ThreadPool(int threads);  // the caller counts as one
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int threads() const { return static_cast<int>(helpers_.size()) + 1; }
  void run(int64_t items, void (*fn)(void*, int64_t), void* context);
  void make_current();  // pool_run on the calling thread goes through this pool from now on

  // For tests: of the calls of pool_scratch on this pool's threads the n-th from now finds no memory. 0: none.
  void fail_scratch_at(int64_t n) { fail_in_.store(n, std::memory_order_relaxed); }
  bool scratch_fails() { return fail_in_.load(std::memory_order_relaxed) > 0 && fail_in_.fetch_sub(1) == 1; }

 private:
  // A job is open for helpers to join while kOpen is set; the low bits count who is in. The caller does not wait for helpers
  // that sleep: it takes items itself, closes the job, and waits for those that joined.
  static constexpr uint64_t kJoined = 0xffff, kOpen = 0x10000, kEpoch = 0x20000;

  void help(size_t thread);
  void work(size_t thread);
  void run_item(int64_t item);
  bool wait_for_job(uint64_t* seen);

  // Each thread has a share of the items, one behind the other, and helps with the others' when it is through. What it worked on in one
  // kernel is then most likely what it works on in the next, and lies in its own caches.
  struct alignas(64) Share {
    std::atomic<int64_t> next{0};
    int64_t end = 0;
  };

  std::atomic<uint64_t> state_{0};
  std::vector<Share> shares_;
  std::atomic<int64_t> fail_in_{0};
  void (*fn_)(void*, int64_t) = nullptr;
  void* context_ = nullptr;

  std::mutex error_mutex_;
  std::exception_ptr error_;
  int64_t error_item_ = 0;

  std::mutex sleep_mutex_;
  std::condition_variable wake_;
  std::atomic<int> sleepers_{0};
  std::atomic<bool> stop_{false};
  std::vector<std::thread> helpers_;
};

}  // namespace heddle::cpu
