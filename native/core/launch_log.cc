#include "core/launch_log.h"

#include <atomic>
#include <mutex>
#include <utility>

namespace heddle {
namespace {

std::atomic<bool> on{false};
std::mutex mutex;
std::vector<LaunchRecord> records;

}  // namespace

void log_launch(const char* name, unsigned x, unsigned y, unsigned z, unsigned threads, size_t shared) {
  if (!on.load(std::memory_order_relaxed)) return;
  const std::lock_guard<std::mutex> lock(mutex);
  records.push_back({name, {x, y, z}, threads, shared});
}

void start_launch_log() {
  const std::lock_guard<std::mutex> lock(mutex);
  records.clear();
  on = true;
}

std::vector<LaunchRecord> take_launch_log() {
  const std::lock_guard<std::mutex> lock(mutex);
  on = false;
  return std::exchange(records, {});
}

}  // namespace heddle
