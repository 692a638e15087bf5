#include "cpu/host/pool.h"

#include <sys/mman.h>

#include <new>
#include <system_error>
#include <utility>

#include "core/pages.h"
#include "core/pause.h"
#include "cpu/host/thread_pool.h"

namespace heddle::cpu {
namespace {

// Pauses of a caller that waits for the last items.
constexpr int kSpins = 2000;

constexpr size_t kHuge = size_t{2} << 20;

// What this thread stored past the caches comes before what it stores from now on.
void store_fence() {
#if defined(__x86_64__)
  _mm_sfence();
#endif
}

thread_local ThreadPool* current_pool = nullptr;
thread_local bool inside_item = false;

struct Scratch {
  float* data[kScratchSlots] = {};
  size_t floats[kScratchSlots] = {};
  ~Scratch() {
    for (int slot = 0; slot < kScratchSlots; ++slot) release(slot);
  }
  void release(int slot) { unmap_pages(std::exchange(data[slot], nullptr), std::exchange(floats[slot], 0) * sizeof(float)); }
};
thread_local Scratch scratch;

}  // namespace

ThreadPool::ThreadPool(int threads) : shares_(static_cast<size_t>(threads)) {
  helpers_.reserve(static_cast<size_t>(threads - 1));
  try {
    for (size_t i = 1; i < shares_.size(); ++i) helpers_.emplace_back([this, i] { help(i); });
  } catch (const std::system_error&) {
    // The system gives no more threads: those that run do the work, with the same bits.
  }
}

ThreadPool::~ThreadPool() {
  {
    std::lock_guard<std::mutex> lock(sleep_mutex_);
    stop_ = true;
  }
  wake_.notify_all();
  for (auto& t : helpers_) t.join();
}

void ThreadPool::make_current() { current_pool = this; }

void ThreadPool::run(int64_t items, void (*fn)(void*, int64_t), void* context) {
  fn_ = fn;
  context_ = context;
  const auto threads = static_cast<int64_t>(shares_.size());
  for (int64_t i = 0; i < threads; ++i) {
    Share& share = shares_[static_cast<size_t>(i)];
    share.next.store(items * i / threads, std::memory_order_relaxed);
    share.end = items * (i + 1) / threads;
  }
  state_.store((state_.load(std::memory_order_relaxed) & ~kJoined) + kEpoch + kOpen);  // nobody is in: the last run waited for that
  if (sleepers_.load()) {
    {
      std::lock_guard<std::mutex> lock(sleep_mutex_);
    }
    wake_.notify_all();
  }
  work(0);
  state_.fetch_sub(kOpen);
  // The helpers that are in finish their last item. Where there are more threads than processors one of them may not be running:
  // then spinning would keep it from it.
  for (int spins = 0; state_.load(std::memory_order_acquire) & kJoined; ++spins) spins < kSpins ? pause() : std::this_thread::yield();
  if (error_) std::rethrow_exception(std::exchange(error_, nullptr));
}

void ThreadPool::work(size_t thread) {
  inside_item = true;
  for (size_t i = 0; i < shares_.size(); ++i) {
    Share& share = shares_[(thread + i) % shares_.size()];
    for (int64_t item; (item = share.next.fetch_add(1, std::memory_order_relaxed)) < share.end;) run_item(item);
  }
  store_fence();
  inside_item = false;
}

void ThreadPool::run_item(int64_t item) {
  try {
    fn_(context_, item);
  } catch (...) {
    std::lock_guard<std::mutex> lock(error_mutex_);
    if (!error_ || item < error_item_) {
      error_ = std::current_exception();
      error_item_ = item;
    }
  }
}

// True: joined a job that this helper has not seen. False: the pool stops.
bool ThreadPool::wait_for_job(uint64_t* seen) {
  const auto fresh = [&](uint64_t s) { return (s & kOpen) && s / kEpoch != *seen; };
  for (Patience patience;;) {
    uint64_t s = state_.load(std::memory_order_acquire);
    while (fresh(s))
      if (state_.compare_exchange_weak(s, s + 1)) {
        *seen = s / kEpoch;
        return true;
      }
    if (stop_.load(std::memory_order_relaxed)) return false;
    if (patience.wait()) continue;
    std::unique_lock<std::mutex> lock(sleep_mutex_);
    sleepers_.fetch_add(1);
    wake_.wait(lock, [&] { return stop_.load() || fresh(state_.load()); });
    sleepers_.fetch_sub(1);
    patience.renew();
  }
}

void ThreadPool::help(size_t thread) {
  make_current();
  uint64_t seen = 0;
  while (wait_for_job(&seen)) {
    work(thread);
    state_.fetch_sub(1, std::memory_order_release);
  }
}

void pool_run(int64_t items, void (*fn)(void*, int64_t), void* context) {
  if (!current_pool || current_pool->threads() == 1 || items <= 1 || inside_item) {
    for (int64_t i = 0; i < items; ++i) fn(context, i);
    store_fence();
    return;
  }
  current_pool->run(items, fn, context);
}

int pool_threads() { return current_pool && !inside_item ? current_pool->threads() : 1; }

float* pool_scratch(int slot, size_t floats) {
  if (current_pool && current_pool->scratch_fails()) throw std::bad_alloc();
  if (scratch.floats[slot] < floats) {
    scratch.release(slot);
    const size_t unit = floats * sizeof(float) >= kHuge ? kHuge : 4096;
    const size_t bytes = (floats * sizeof(float) + unit - 1) / unit * unit;
    scratch.data[slot] = static_cast<float*>(map_pages(bytes, unit));
#ifdef MADV_HUGEPAGE
    if (scratch.data[slot] && unit == kHuge) madvise(scratch.data[slot], bytes, MADV_HUGEPAGE);  // packed panels: 3 % of a product
#endif
    if (!scratch.data[slot]) throw std::bad_alloc();
    scratch.floats[slot] = bytes / sizeof(float);
  }
  return scratch.data[slot];
}

}  // namespace heddle::cpu
