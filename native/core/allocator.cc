#include "core/allocator.h"

#include <algorithm>
#include <cstdio>
#include <utility>
#include <vector>

#include "core/error.h"
#include "core/stream.h"

namespace heddle {
namespace {

// Small blocks in steps of 256 bytes, larger ones in steps of an eighth of their power of two: near sizes share blocks.
size_t round_up(size_t bytes) {
  size_t step = 256;
  while (step * 16 < bytes) step *= 2;
  return std::max<size_t>(256, (bytes + step - 1) / step * step);
}

std::string mib(double bytes) {
  char text[32];
  std::snprintf(text, sizeof text, "%.1f MiB", bytes / (1 << 20));
  return text;
}

}  // namespace

Allocator::~Allocator() {  // the stream has ended: nothing is in use
  for (auto& [p, block] : live_) source_.release(p, block.bytes);
  for (auto& [bytes, p] : free_) source_.release(p, bytes);
}

void* Allocator::take_cached(size_t bytes, size_t* size) {
  const auto it = free_.lower_bound(bytes);
  if (it == free_.end() || it->first > bytes + bytes / 4) return nullptr;
  if (limit_ && used_ + static_cast<int64_t>(it->first) > limit_) return nullptr;
  void* p = it->second;
  *size = it->first;
  cached_ -= static_cast<int64_t>(it->first);
  free_.erase(it);
  return p;
}

void* Allocator::allocate(size_t bytes, const char* op) {
  size_t size = round_up(bytes);
  if (limit_ && used_ + static_cast<int64_t>(size) > limit_) out_of_memory(size, op);
  void* p = take_cached(size, &size);
  if (!p) {
    // Blocks that fit nothing would pile up when shapes change all the time. The bound follows the peak, not what is in use
    // now: between two steps nearly all is cached, and the next step wants every block of it again.
    const int64_t wanted = used_ + static_cast<int64_t>(size), most = std::max(peak_, wanted);
    if (wanted + cached_ > most + most / 2 + (64 << 20)) release_cache();
    p = source_.allocate(size);
    if (!p && cached_) {
      release_cache();
      stream_->wait();
      p = source_.allocate(size);
    }
    if (!p) out_of_memory(size, op);
  }
  live_.emplace(p, Block{size, op});
  used_ += static_cast<int64_t>(size);
  peak_ = std::max(peak_, used_);
  return p;
}

void Allocator::free(void* block) {
  const auto it = live_.find(block);
  const size_t size = it->second.bytes;
  live_.erase(it);
  used_ -= static_cast<int64_t>(size);
  cached_ += static_cast<int64_t>(size);
  free_.emplace(size, block);
}

void Allocator::release_cache() {
  for (const auto& [size, p] : free_) {
    const auto release = source_.release;
    stream_->enqueue_always("release memory", [release, block = p, bytes = size] { release(block, bytes); });
  }
  free_.clear();
  cached_ = 0;
}

void Allocator::out_of_memory(size_t bytes, const char* op) const {
  std::map<std::string, int64_t> holders;
  for (const auto& [p, block] : live_) holders[block.op] += static_cast<int64_t>(block.bytes);
  std::vector<std::pair<int64_t, std::string>> largest;
  for (const auto& [name, held] : holders) largest.emplace_back(held, name);
  std::sort(largest.rbegin(), largest.rend());
  if (largest.size() > 5) largest.resize(5);
  std::string who;
  for (const auto& [held, name] : largest) who += (who.empty() ? "" : ", ") + name + " " + mib(static_cast<double>(held));
  std::string message = std::string(op) + ": out of memory: asked for " + mib(static_cast<double>(bytes)) + ", " +
                        mib(static_cast<double>(used_)) + " in use" +
                        (limit_ ? " of a limit of " + mib(static_cast<double>(limit_)) : std::string(" and the system gives no more"));
  const size_t block = free_.empty() ? 0 : free_.rbegin()->first;
  message += ", largest free block " + mib(static_cast<double>(block)) + ". Made by: " + (who.empty() ? "nothing" : who);
  throw OpError(message, ErrorCode::out_of_memory);
}

}  // namespace heddle
