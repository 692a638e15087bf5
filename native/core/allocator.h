#pragma once
// A caching allocator in stream order: a freed block may be given out again at once, because whatever still uses it was
// enqueued earlier on the same stream. Runs on the instance's JavaScript thread alone, so its figures are exact and the same
// in every run. Blocks go back to the system through the stream, after their last use.
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <unordered_map>

namespace heddle {

class Stream;

struct MemoryStats {
  int64_t used;    // bytes in live tensors, as rounded
  int64_t peak;    // the most that `used` has been
  int64_t cached;  // free, kept for the next allocation
  int64_t limit;   // 0: none
  int64_t blocks;  // live
};

class Allocator {
 public:
  // The system's calls; allocate returns null when there is no memory.
  struct Source {
    std::function<void*(size_t bytes)> allocate;
    void (*release)(void* block, size_t bytes);
  };

  Allocator(Source source, Stream* stream) : source_(source), stream_(stream) {}
  ~Allocator();
  Allocator(const Allocator&) = delete;
  Allocator& operator=(const Allocator&) = delete;

  void* allocate(size_t bytes, const char* op);  // `op`: who asks, for the out-of-memory report
  void free(void* block);

  MemoryStats stats() const { return {used_, peak_, cached_, limit_, static_cast<int64_t>(live_.size())}; }
  void set_limit(int64_t bytes) { limit_ = bytes; }
  void reset_peak() { peak_ = used_; }
  void release_cache();

 private:
  struct Block {
    size_t bytes;
    const char* op;
  };

  void* take_cached(size_t bytes, size_t* size);
  [[noreturn]] void out_of_memory(size_t bytes, const char* op) const;

  Source source_;
  Stream* stream_;
  std::unordered_map<void*, Block> live_;
  std::multimap<size_t, void*> free_;
  int64_t used_ = 0, peak_ = 0, cached_ = 0, limit_ = 0;
};

}  // namespace heddle
