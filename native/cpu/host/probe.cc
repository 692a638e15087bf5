#include "cpu/host/probe.h"

#include <sys/mman.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "core/error.h"
#include "core/pause.h"
#include "cpu/host/dispatch.h"
#include "cpu/host/pool.h"

namespace heddle::cpu {
namespace {

constexpr double kSeconds = 0.2;

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

// Seconds that all threads together take for f(thread), from when they all are there.
template <class F>
double together(int threads, const F& f) {
  std::atomic<int> ready{0};
  std::atomic<bool> go{false};
  std::vector<std::thread> helpers;
  const auto enter = [&](int i) {
    ready.fetch_add(1);
    while (!go.load()) std::this_thread::yield();
    f(i);
  };
  for (int i = 1; i < threads; ++i) helpers.emplace_back(enter, i);
  while (ready.load() < threads - 1) std::this_thread::yield();
  const double start = now();
  go.store(true);
  f(0);
  for (auto& t : helpers) t.join();
  return now() - start;
}

// Work per second: f(repeats, thread) does it, with the repeats doubled until they take long enough.
template <class F>
double rate(int threads, double work, const F& f) {
  for (int64_t repeats = 1;; repeats *= 2) {
    const double seconds = together(threads, [&](int thread) { f(repeats, thread); });
    if (seconds >= kSeconds / 2) return work * static_cast<double>(repeats) / seconds;
  }
}

struct Free {
  void operator()(void* p) const { std::free(p); }
};

std::unique_ptr<float, Free> array(int64_t bytes) {
  constexpr int64_t huge = int64_t{2} << 20;
  bytes = (bytes + huge - 1) / huge * huge;
  std::unique_ptr<float, Free> p(static_cast<float*>(std::aligned_alloc(huge, static_cast<size_t>(bytes))));
  if (!p) throw OpError("probe: the system has no " + std::to_string(bytes) + " bytes", ErrorCode::out_of_memory);
#ifdef MADV_HUGEPAGE
  madvise(p.get(), static_cast<size_t>(bytes), MADV_HUGEPAGE);
#endif
  std::memset(p.get(), 0, static_cast<size_t>(bytes));
  return p;
}

struct alignas(64) Kept {
  float value = 1;
};

}  // namespace

double run_probe(ProbeKind kind, int threads, int64_t bytes) {
  const Probe& machine = probe();
  std::vector<Kept> kept(static_cast<size_t>(threads));
  const auto keep = [&](int thread) { return &kept[static_cast<size_t>(thread)].value; };
  if (kind == ProbeKind::fma) {
    constexpr int64_t steps = 10000;
    const double operations = machine.fma_chains(1, keep(0)) * steps * threads;
    return rate(threads, operations, [&](int64_t repeats, int thread) { machine.fma_chains(steps * repeats, keep(thread)); }) / 1e9;
  }
  const int64_t share = bytes / 4 / threads / 1024 * 1024;  // floats of a thread, whole pages
  if (share == 0) throw OpError("probe: bytes must be at least 4096 per thread, got " + std::to_string(bytes));
  const auto source = array(share * threads * 4);
  const double total = static_cast<double>(share) * threads * 4;
  if (kind == ProbeKind::read) {
    return rate(threads, total,
                [&](int64_t repeats, int thread) {
                  for (int64_t i = 0; i < repeats; ++i) machine.read_floats(source.get() + thread * share, share, keep(thread));
                }) /
           1e9;
  }
  const auto target = array(share * threads * 4);
  return rate(threads, 2 * total,
              [&](int64_t repeats, int thread) {
                for (int64_t i = 0; i < repeats; ++i)
                  std::memcpy(target.get() + thread * share, source.get() + thread * share, static_cast<size_t>(share) * 4);
              }) /
         1e9;
}

namespace {

// f() on every thread of the pool, once all are there.
template <class F>
void on_every_thread(F f) {
  struct Meeting {
    F f;
    int threads;
    std::atomic<int> here{0};
  } meeting{f, pool_threads()};
  const auto item = [](void* context, int64_t) {
    Meeting& m = *static_cast<Meeting*>(context);
    m.here.fetch_add(1);
    while (m.here.load() < m.threads) pause();  // so that each thread takes one item
    m.f();
  };
  pool_run(meeting.threads, item, &meeting);
}

}  // namespace

void wake_threads() {
  on_every_thread([] {});
}

void fma_burst(int64_t steps) {
  on_every_thread([steps] {
    Kept kept;
    probe().fma_chains(steps, &kept.value);
  });
}

void memory_burst(const float* from, float* to, int64_t bytes) {
  struct Parts {
    const float* from;
    float* to;
    int64_t floats;  // of a thread
  } parts{from, to, bytes / 4 / pool_threads()};
  const auto item = [](void* context, int64_t i) {
    const Parts& p = *static_cast<Parts*>(context);
    const int64_t first = i * p.floats;
    Kept kept;
    if (p.to) {
      std::memcpy(p.to + first, p.from + first, static_cast<size_t>(p.floats) * 4);
    } else {
      probe().read_floats(p.from + first, p.floats, &kept.value);
    }
  };
  pool_run(pool_threads(), item, &parts);
}

double fma_operations(int64_t steps, int threads) {
  Kept kept;
  return probe().fma_chains(1, &kept.value) * static_cast<double>(steps) * threads;
}

}  // namespace heddle::cpu
