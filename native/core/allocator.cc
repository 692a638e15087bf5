#include "core/allocator.h"

#include <algorithm>
#include <cstdio>
#include <iterator>
#include <unordered_map>
#include <utility>
#include <vector>

#include "core/error.h"
#include "core/stream.h"

namespace heddle {
namespace {

// A block more than so many times the request is left whole: cut for what may live long, it would serve nothing of its size again.
constexpr size_t kWorthCutting = 4;

// Small blocks in steps of 256 bytes, larger ones in steps of an eighth of their power of two: near sizes share blocks.
size_t round_up(size_t bytes) {
  size_t step = 256;
  while (step * 16 < bytes) step *= 2;
  return std::max<size_t>(256, (bytes + step - 1) / step * step);
}

}  // namespace

std::string size_text(int64_t bytes) {
  char text[32];
  const bool small = bytes > 0 && bytes < 100 << 10;
  std::snprintf(text, sizeof text, small ? "%.1f KiB" : "%.1f MiB", static_cast<double>(bytes) / (small ? 1 << 10 : 1 << 20));
  return text;
}

Allocator::~Allocator() {  // the stream has ended: nothing is in use
  for (const auto& [number, s] : segments_) source_.release(s.base, s.bytes);
}

int64_t Allocator::largest() const {
  const auto after = free_.lower_bound({1, 0, 0, 0});  // the first of a pool
  return after == free_.begin() ? 0 : static_cast<int64_t>(std::get<1>(std::prev(after)->first));
}

void Allocator::put_free(Blocks::iterator it) {
  Block& b = it->second;
  b.op = nullptr;
  free_in(b.pool) += static_cast<int64_t>(b.bytes);
  free_.emplace(place_of(b), it);
}

// A free block of at least so many bytes, no longer among the free ones: nearly of that size, or cut to it.
Allocator::Blocks::iterator Allocator::take_free(int64_t pool, size_t bytes, Cut cut) {
  const auto found = free_.lower_bound({pool, bytes, 0, 0});
  if (found == free_.end() || std::get<0>(found->first) != pool) return blocks_.end();
  const auto it = found->second;
  Block& b = it->second;
  const size_t size = b.bytes;
  const bool over = !pool && limit_ && used_ + static_cast<int64_t>(size) > limit_;  // what a pool has is in use already
  const bool whole = size <= bytes + bytes / 4 && !over;
  if (!whole && cut == Cut::worthwhile && size > bytes * kWorthCutting) return blocks_.end();
  free_.erase(found);
  free_in(pool) -= static_cast<int64_t>(size);
  if (!whole && size > bytes) {
    b.bytes = bytes;
    put_free(blocks_.emplace_hint(std::next(it), it->first + bytes, Block{size - bytes, b.segment, b.place + bytes, nullptr, pool}));
  }
  return it;
}

// The pool's own first.
Allocator::Blocks::iterator Allocator::take_free(size_t bytes, Cut cut) {
  const auto own = pool_ ? take_free(pool_, bytes, cut) : blocks_.end();
  return own != blocks_.end() ? own : take_free(0, bytes, cut);
}

// A new segment; where the system has none, whatever is cached serves.
Allocator::Blocks::iterator Allocator::grow(size_t bytes, const char* op) {
  // Blocks that fit nothing would pile up when shapes change all the time. The bound follows the peak, not what is in use
  // now: between two steps nearly all is cached, and the next step wants every block of it again.
  const int64_t wanted = used_ + static_cast<int64_t>(bytes), most = std::max(peak_, wanted);
  if (wanted + cached_ > most + most / 2 + (64 << 20)) release_cache();
  void* p = source_.allocate(bytes);
  if (!p) {
    if (const auto it = take_free(bytes, Cut::always); it != blocks_.end()) return it;
    if (cached_) {
      release_cache();
      stream_->wait();
      p = source_.allocate(bytes);
    }
  }
  if (!p) out_of_memory(bytes, op);
  const int64_t number = next_segment_++;
  segments_[number] = {static_cast<char*>(p), bytes};
  return blocks_.emplace(static_cast<char*>(p), Block{bytes, number, 0, nullptr, 0}).first;
}

void* Allocator::allocate(size_t bytes, const char* op) {
  const size_t size = round_up(bytes);
  if (fail_in_ > 0 && --fail_in_ == 0) out_of_memory(size, op);
  auto it = pool_ ? take_free(pool_, size, Cut::worthwhile) : blocks_.end();
  if (it == blocks_.end()) {
    if (limit_ && used_ + static_cast<int64_t>(size) > limit_) out_of_memory(size, op);
    it = take_free(0, size, Cut::worthwhile);
  }
  if (it == blocks_.end()) it = grow(size, op);
  Block& b = it->second;
  if (!b.pool) used_ += static_cast<int64_t>(b.bytes);  // what a pool has is in use already
  b.pool = pool_;
  b.op = op;
  ++live_;
  if (used_ > peak_) {
    peak_ = used_;
    if (on_peak_) on_peak_();
  }
  return it->first;
}

// While a graph is captured, blocks of others too become its pool's: its tasks may use them, and have not run.
void Allocator::free(void* block) {
  const auto it = blocks_.find(static_cast<char*>(block));
  if (!it->second.pool) it->second.pool = pool_;
  if (!it->second.pool) used_ -= static_cast<int64_t>(it->second.bytes);
  --live_;
  join_free(it);
}

// A block becomes free, and one with free neighbours of its pool.
void Allocator::join_free(Blocks::iterator it) {
  const auto joins = [&](Blocks::iterator other) {
    const Block& b = other->second;
    if (b.op || b.segment != it->second.segment || b.pool != it->second.pool) return false;
    free_.erase(place_of(b));
    free_in(b.pool) -= static_cast<int64_t>(b.bytes);
    return true;
  };
  if (const auto after = std::next(it); after != blocks_.end() && joins(after)) {
    it->second.bytes += after->second.bytes;
    blocks_.erase(after);
  }
  if (it != blocks_.begin() && joins(std::prev(it))) {
    const auto before = std::prev(it);
    before->second.bytes += it->second.bytes;
    blocks_.erase(it);
    it = before;
  }
  put_free(it);
}

// Replays that are enqueued come before whatever will use the blocks. Those of living tensors go on as anybody's.
void Allocator::release_pool(int64_t pool) {
  std::vector<Blocks::iterator> free;
  for (auto it = blocks_.begin(); it != blocks_.end(); ++it) {
    Block& b = it->second;
    if (b.pool != pool) continue;
    if (!b.op) {
      free_.erase(place_of(b));
      pooled_ -= static_cast<int64_t>(b.bytes);
      used_ -= static_cast<int64_t>(b.bytes);
      b.op = "";  // joins nothing yet
      free.push_back(it);
    }
    b.pool = 0;
  }
  for (const auto it : free) join_free(it);
}

void Allocator::release_cache() {
  for (auto at = free_.begin(); at != free_.end() && std::get<0>(at->first) == 0;) {
    const auto it = at->second;
    const Block b = it->second;
    if (b.bytes != segments_.at(b.segment).bytes) {  // a part is in use
      ++at;
      continue;
    }
    stream_->enqueue_always("release memory", [release = source_.release, p = it->first, bytes = b.bytes] { release(p, bytes); });
    cached_ -= static_cast<int64_t>(b.bytes);
    segments_.erase(b.segment);
    blocks_.erase(it);
    at = free_.erase(at);
  }
}

void Allocator::out_of_memory(size_t bytes, const char* op) const {
  std::unordered_map<std::string, int64_t> holders;
  for (const auto& [p, block] : blocks_)
    if (block.op) holders[block.op] += static_cast<int64_t>(block.bytes);
  std::vector<std::pair<int64_t, std::string>> largest_holders;
  for (const auto& [name, held] : holders) largest_holders.emplace_back(held, name);
  std::sort(largest_holders.rbegin(), largest_holders.rend());
  if (largest_holders.size() > 5) largest_holders.resize(5);
  std::string who;
  for (const auto& [held, name] : largest_holders) who += (who.empty() ? "" : ", ") + name + " " + size_text(held);

  const auto size = static_cast<int64_t>(bytes);
  const bool limited = limit_ && used_ + size > limit_;
  const int64_t free = limited ? limit_ - used_ : source_.available ? source_.available() : -1;
  std::string message = std::string(op) + ": out of memory: asked for " + size_text(size) + ", " + size_text(used_) + " in use" +
                        (limited ? " of a limit of " + size_text(limit_) : " and " + source_.name + " gives no more");
  if (free >= 0) message += ", " + size_text(free) + " free";
  message += ", largest free block " + size_text(largest()) + ". Made by: " + (who.empty() ? "nothing" : who);
  const int64_t too_much = free >= 0 && free < size ? size - free : size;
  message += ". It would fit with " + size_text(too_much) + " less in use (smaller micro-batches and more accumulation, a shorter context)";
  if (limited) message += " or with a limit of " + size_text(used_ + size);
  if (holders_) message += holders_();
  throw OpError(message, ErrorCode::out_of_memory);
}

}  // namespace heddle
