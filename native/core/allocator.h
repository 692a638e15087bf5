#pragma once
// A caching allocator in stream order: a freed block may be given out again at once, because whatever still uses it was
// enqueued earlier on the same stream. Runs on the instance's JavaScript thread alone, so its figures are exact and the same
// in every run. What the system gave goes back to it through the stream, after its last use.
//
// A segment is what the system gave. It is one block at first; a request that is smaller cuts a block in two, and free
// neighbours become one again.
//
// A captured graph writes to the same addresses whenever it is replayed, so what it uses serves nothing else: blocks that are taken while
// one is captured belong to its pool, and stay there when they are freed, until the pool is released.
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <tuple>

namespace heddle {

class Stream;

std::string size_text(int64_t bytes);  // "1.5 MiB"

struct MemoryStats {
  int64_t used;     // bytes in live tensors, as rounded, and in pools
  int64_t peak;     // the most that `used` has been
  int64_t cached;   // free, kept for the next allocation
  int64_t largest;  // the largest free block
  int64_t limit;    // 0: none
  int64_t blocks;   // live
  int64_t pooled;   // of `used`: free, kept by pools
};

class Allocator {
 public:
  // The system's calls; allocate returns null when there is no memory.
  struct Source {
    std::function<void*(size_t bytes)> allocate;
    void (*release)(void* block, size_t bytes);
    std::function<int64_t()> available = nullptr;  // bytes that it still has; negative: it does not know
    std::string name = "the system";               // for messages
  };

  Allocator(Source source, Stream* stream) : source_(std::move(source)), stream_(stream) {}
  ~Allocator();
  Allocator(const Allocator&) = delete;
  Allocator& operator=(const Allocator&) = delete;

  void* allocate(size_t bytes, const char* op);  // `op`: who asks, for the out-of-memory report
  void free(void* block);

  // Blocks taken and freed from now on belong to that pool; 0: to none. Pools are numbered by the caller, from 1.
  void use_pool(int64_t pool) { pool_ = pool; }
  void release_pool(int64_t pool);

  MemoryStats stats() const { return {used_, peak_, cached_, largest(), limit_, live_, pooled_}; }
  void set_limit(int64_t bytes) { limit_ = bytes; }
  void reset_peak() { peak_ = used_; }
  void release_cache();  // segments of which nothing is in use
  int64_t bytes_of(const void* block) const { return static_cast<int64_t>(blocks_.at(static_cast<char*>(const_cast<void*>(block))).bytes); }

  // Lines that the out-of-memory error ends with: who holds what, as far as somebody above knows it.
  void set_holders(std::function<std::string()> text) { holders_ = std::move(text); }
  // Called when more is in use than ever before, the new block included.
  void set_on_peak(std::function<void()> f) { on_peak_ = std::move(f); }
  // For tests: the n-th allocation from now finds no memory. 0: none.
  void fail_at(int64_t n) { fail_in_ = n; }

 private:
  struct Block {
    size_t bytes;
    int64_t segment;
    size_t place;    // within its segment
    const char* op;  // null: free
    int64_t pool;    // 0: none
  };
  struct Segment {
    char* base;
    size_t bytes;
  };
  using Blocks = std::map<char*, Block>;  // by address: neighbours are neighbours
  using Place = std::tuple<int64_t, size_t, int64_t, size_t>;
  using Free = std::map<Place, Blocks::iterator>;   // by pool, bytes, segment, place: the same in every run
  enum class Cut : uint8_t { worthwhile, always };  // when a block larger than the request is cut

  static Place place_of(const Block& b) { return {b.pool, b.bytes, b.segment, b.place}; }
  int64_t& free_in(int64_t pool) { return pool ? pooled_ : cached_; }
  Blocks::iterator take_free(int64_t pool, size_t bytes, Cut cut);
  Blocks::iterator take_free(size_t bytes, Cut cut);
  Blocks::iterator grow(size_t bytes, const char* op);
  void put_free(Blocks::iterator it);
  void join_free(Blocks::iterator it);
  int64_t largest() const;
  [[noreturn]] void out_of_memory(size_t bytes, const char* op) const;

  Source source_;
  Stream* stream_;
  std::function<std::string()> holders_;
  std::function<void()> on_peak_;
  Blocks blocks_;
  std::map<int64_t, Segment> segments_;
  Free free_;
  int64_t used_ = 0, peak_ = 0, cached_ = 0, limit_ = 0, live_ = 0, next_segment_ = 0, fail_in_ = 0, pool_ = 0, pooled_ = 0;
};

}  // namespace heddle
