// Independent blocks on several threads of the host.
//
// Every cluster runs alone with a random stream of its own, so results and messages do not depend on how many threads there are.
#include <atomic>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>

#include "sim/machine/machine.h"

namespace sim {

namespace {

// Threads that help the caller: those that wake up too late find nothing to do, and nobody waits for them.
class Helpers {
 public:
  // Calls f(0) here and f(1), f(2), ... on up to `threads` - 1 helpers; returns when all calls that began have ended.
  void run(uint32_t threads, const std::function<void(uint32_t)>& f) {
    {
      std::lock_guard lock(mutex_);
      while (started_ + 1 < threads) {
        std::thread([this] { help(); }).detach();
        ++started_;
      }
      task_ = &f;
      next_ = 1;
      limit_ = threads;
    }
    wake_.notify_all();
    f(0);
    std::unique_lock lock(mutex_);
    task_ = nullptr;
    idle_.wait(lock, [this] { return busy_ == 0; });
  }

 private:
  void help() {
    std::unique_lock lock(mutex_);
    for (;;) {
      wake_.wait(lock, [this] { return task_ && next_ < limit_; });
      const auto& f = *task_;
      const uint32_t k = next_++;
      ++busy_;
      lock.unlock();
      f(k);
      lock.lock();
      if (--busy_ == 0) idle_.notify_all();
    }
  }

  std::mutex mutex_;
  std::condition_variable wake_, idle_;
  const std::function<void(uint32_t)>* task_ = nullptr;
  uint32_t next_ = 0, limit_ = 0, busy_ = 0, started_ = 0;
};

Helpers& helpers() {
  static auto* h = new Helpers;  // its threads outlive main
  return *h;
}

void run_alone(Machine& m, uint64_t number, Profile& total) {
  m.profile = {};
  m.engine.clear();
  m.clusters.clear();
  m.lowest_priority = 1ull << 40;
  m.progress = m.events = m.rounds = 0;
  m.random.seed(cluster_seed(m, number));
  start_cluster(m, number);
  while (!m.clusters.empty()) run_resident(m, false);
  total.add(m.profile);
}

}  // namespace

bool run_in_parallel(Machine& m, const std::vector<uint64_t>& order) {
  const Options& o = m.options;
  if (!m.launch.program->independent_blocks || m.launch.cooperative || o.race || o.trace) return false;
  const uint32_t threads = uint32_t(std::min<uint64_t>(o.threads, order.size()));
  while (m.workers.size() < threads) m.workers.push_back(std::make_unique<Machine>());
  for (uint32_t k = 0; k < threads; ++k) {
    Machine& w = *m.workers[k];
    w.options = o;
    w.async = m.async;
    w.launch = m.launch;
    w.launches = m.launches, w.first_serial = m.first_serial;
    w.device = m.device, w.peers = m.peers, w.multiprocessors = m.multiprocessors;
    w.caches.assign(m.launch.program->code.size(), {});
  }
  std::atomic<size_t> next{0};
  std::atomic<uint64_t> first_bad{~0ull};  // no cluster after the first wrong one needs to run
  std::mutex mutex;
  std::string message;
  helpers().run(threads, [&](uint32_t k) {
    Machine& w = *m.workers[k];
    Profile total;
    for (size_t n; (n = next++) < order.size();) {
      if (order[n] > first_bad) continue;
      try {
        run_alone(w, order[n], total);
      } catch (const std::exception& e) {
        std::lock_guard lock(mutex);
        if (order[n] < first_bad) first_bad = order[n], message = e.what();
      }
    }
    w.engine.clear();
    w.clusters.clear();
    std::lock_guard lock(mutex);
    m.profile.add(total);
  });
  if (first_bad != ~0ull) throw Error(message);
  return true;
}

}  // namespace sim
