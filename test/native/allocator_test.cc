// The caching allocator: reuse, figures, the limit and what its error says, memory that goes back to the system.
#include "core/allocator.h"

#include <atomic>
#include <map>
#include <mutex>

#include "check.h"
#include "core/stream.h"

using heddle::Allocator;
using heddle::ErrorCode;
using heddle::OpError;
using heddle::Stream;

namespace {

// A system that counts, and has only so much memory. The stream's thread gives back while this one takes.
std::mutex system_mutex;
std::atomic<size_t> held{0}, calls{0}, system_limit{SIZE_MAX};
std::map<void*, size_t> blocks;

void* take(size_t bytes) {
  const std::lock_guard lock(system_mutex);
  if (held + bytes > system_limit) return nullptr;
  held += bytes;
  ++calls;
  void* p = std::malloc(bytes);
  blocks[p] = bytes;
  return p;
}

void give(void* p, size_t bytes) {
  const std::lock_guard lock(system_mutex);
  CHECK(blocks.count(p) == 1 && blocks[p] == bytes);
  blocks.erase(p);
  held -= bytes;
  std::free(p);
}

const Allocator::Source kSource{take, give,
                                [] { return system_limit == SIZE_MAX ? int64_t{-1} : static_cast<int64_t>(system_limit - held); }};
constexpr size_t kMiB = 1 << 20;

struct Fixture {
  std::unique_ptr<Stream> stream = std::make_unique<Stream>(Stream::Hooks{});
  Allocator memory{kSource, stream.get()};
  ~Fixture() { stream.reset(); }
};

void reuse() {
  {
    Fixture f;
    void* a = f.memory.allocate(1000, "a");
    void* b = f.memory.allocate(1000, "b");
    CHECK(a != b);
    CHECK(f.memory.stats().used == 2048);
    CHECK(f.memory.stats().blocks == 2);
    f.memory.free(a);
    f.memory.free(b);
    CHECK(f.memory.stats().used == 0);
    CHECK(f.memory.stats().cached == 2048);
    const size_t before = calls;
    CHECK(f.memory.allocate(1024, "c") == a);  // the first one given back is the first one used again
    CHECK(f.memory.allocate(1024, "d") == b);
    CHECK(calls == before);
    CHECK(f.memory.stats().cached == 0);
    CHECK(f.memory.stats().peak == 2048);
    // A block a quarter larger at most is used whole; a far larger one waits for its like.
    void* large = f.memory.allocate(10 * kMiB, "e");
    f.memory.free(large);
    void* small = f.memory.allocate(kMiB, "f");
    CHECK(small != large);
    CHECK(f.memory.allocate(9 * kMiB, "g") == large);
    f.memory.reset_peak();
    CHECK(f.memory.stats().peak == f.memory.stats().used);
    CHECK(f.memory.allocate(0, "empty") != nullptr);
  }
  CHECK(held == 0);  // living and cached blocks went back
}

// A block is cut where that is worth it; its parts become one again, whatever goes first.
void split_and_merge() {
  {
    Fixture f;
    char* whole = static_cast<char*>(f.memory.allocate(4 * kMiB, "a"));
    f.memory.free(whole);
    const size_t before = calls;
    void* first = f.memory.allocate(kMiB, "b");
    void* second = f.memory.allocate(kMiB, "c");
    void* third = f.memory.allocate(2 * kMiB, "d");
    CHECK(first == whole && second == whole + kMiB && third == whole + 2 * kMiB);
    CHECK(calls == before);
    CHECK(f.memory.stats().used == static_cast<int64_t>(4 * kMiB));
    CHECK(f.memory.stats().cached == 0 && f.memory.stats().largest == 0 && f.memory.stats().blocks == 3);
    f.memory.free(first);
    f.memory.free(third);
    CHECK(f.memory.stats().largest == static_cast<int64_t>(2 * kMiB));
    f.memory.release_cache();  // a part is in use: the segment stays
    CHECK(f.memory.stats().cached == static_cast<int64_t>(3 * kMiB));
    f.memory.free(second);
    CHECK(f.memory.stats().largest == static_cast<int64_t>(4 * kMiB));
    CHECK(f.memory.allocate(4 * kMiB, "e") == whole);
    f.memory.free(whole);
    CHECK(f.memory.allocate(kMiB / 2, "f") != whole);  // less than a quarter: for something larger
    f.memory.release_cache();
    f.stream->wait();
    CHECK(held == kMiB / 2);
  }
  CHECK(held == 0);
}

// Whether a block lies on none of the living ones.
bool is_apart(const std::map<char*, size_t>& live, char* p, size_t bytes) {
  const auto after = live.lower_bound(p);
  return (after == live.end() || p + bytes <= after->first) &&
         (after == live.begin() || std::prev(after)->first + std::prev(after)->second <= p);
}

// Whatever is cut and joined, blocks in use lie within what the system gave and never on each other.
void disjoint() {
  Fixture f;
  check::Rng rng(5);
  std::map<char*, size_t> live;
  bool apart = true;
  for (int i = 0; i < 5000; ++i) {
    if (live.empty() || rng.below(5) < 3) {
      const auto bytes = static_cast<size_t>(1 + (rng.below(4) ? rng.below(5000) : rng.below(400000)));
      auto* p = static_cast<char*>(f.memory.allocate(bytes, "x"));
      apart = apart && is_apart(live, p, bytes);
      const std::lock_guard lock(system_mutex);
      auto segment = blocks.upper_bound(p);
      apart = apart && segment != blocks.begin() && p + bytes <= static_cast<char*>((--segment)->first) + segment->second;
      live[p] = bytes;
    } else {
      auto it = live.begin();
      std::advance(it, rng.below(static_cast<int64_t>(live.size())));
      f.memory.free(it->first);
      live.erase(it);
    }
    if (i % 500 == 499) f.memory.release_cache();
  }
  f.stream->wait();
  CHECK(apart);
  const auto s = f.memory.stats();
  CHECK(s.used + s.cached == static_cast<int64_t>(held));
}

// The same sequence gives the same figures.
void exact() {
  const auto run = [] {
    Fixture f;
    check::Rng rng(3);
    std::vector<void*> live;
    std::vector<int64_t> figures;
    for (int i = 0; i < 2000; ++i) {
      if (live.empty() || rng.below(3)) {
        live.push_back(f.memory.allocate(static_cast<size_t>(rng.below(100000)), "x"));
      } else {
        const auto at = static_cast<size_t>(rng.below(static_cast<int64_t>(live.size())));
        f.memory.free(live[at]);
        live.erase(live.begin() + static_cast<int64_t>(at));
      }
      const auto s = f.memory.stats();
      figures.insert(figures.end(), {s.used, s.cached, s.peak, s.blocks});
      if (s.blocks != static_cast<int64_t>(live.size())) CHECK(!"blocks");
    }
    for (void* p : live) f.memory.free(p);
    CHECK(f.memory.stats().used == 0);
    return figures;
  };
  CHECK(run() == run());
}

// What a pool has taken serves nothing else until it is released.
void pools() {
  {
    Fixture f;
    char* cached = static_cast<char*>(f.memory.allocate(4 * kMiB, "a"));
    f.memory.free(cached);
    f.memory.use_pool(1);
    char* first = static_cast<char*>(f.memory.allocate(kMiB, "b"));
    CHECK(first == cached);  // from what was cached
    f.memory.free(first);
    CHECK(f.memory.stats().used == static_cast<int64_t>(kMiB) && f.memory.stats().pooled == static_cast<int64_t>(kMiB));
    CHECK(f.memory.allocate(kMiB, "c") == first);  // stream order, within the pool
    char* second = static_cast<char*>(f.memory.allocate(kMiB, "d"));
    f.memory.free(second);
    f.memory.use_pool(0);
    CHECK(second == first + kMiB);
    f.memory.free(first);  // goes back to where it came from
    auto s = f.memory.stats();
    CHECK(s.used == static_cast<int64_t>(2 * kMiB) && s.pooled == s.used && s.cached == s.used && s.blocks == 0);
    CHECK(s.largest == static_cast<int64_t>(2 * kMiB));
    char* outside = static_cast<char*>(f.memory.allocate(kMiB, "e"));
    CHECK(outside != first && outside != second);
    f.memory.release_cache();
    f.stream->wait();
    CHECK(held == 4 * kMiB);
    // Another pool does not see them; a later user of the same one does. The limit counts what pools have.
    f.memory.set_limit(static_cast<int64_t>(3 * kMiB));
    f.memory.use_pool(2);
    CHECK(!check::error_of([&] { f.memory.allocate(kMiB, "f"); }).empty());
    f.memory.use_pool(1);
    CHECK(f.memory.allocate(2 * kMiB, "g") == first);  // both, joined
    // What is freed while a graph is captured is its pool's from then on.
    f.memory.free(outside);
    f.memory.use_pool(0);
    s = f.memory.stats();
    CHECK(s.used == static_cast<int64_t>(3 * kMiB) && s.pooled == static_cast<int64_t>(kMiB));
    f.memory.release_pool(1);
    s = f.memory.stats();
    CHECK(s.used == static_cast<int64_t>(2 * kMiB) && s.pooled == 0 && s.blocks == 1);  // the living one is anybody's now
    f.memory.free(first);
    s = f.memory.stats();
    CHECK(s.used == 0 && s.cached == static_cast<int64_t>(4 * kMiB) && s.largest == s.cached);  // one block again
  }
  CHECK(held == 0);
}

// Blocks of pools and others, cut and joined at random: none on another, and the figures add up.
void disjoint_pools() {
  Fixture f;
  check::Rng rng(9);
  std::map<char*, size_t> live;
  bool apart = true;
  for (int i = 0; i < 5000; ++i) {
    f.memory.use_pool(rng.below(3));
    if (live.empty() || rng.below(5) < 3) {
      const auto bytes = static_cast<size_t>(1 + rng.below(200000));
      auto* p = static_cast<char*>(f.memory.allocate(bytes, "x"));
      apart = apart && is_apart(live, p, bytes);
      live[p] = bytes;
    } else {
      auto it = live.begin();
      std::advance(it, rng.below(static_cast<int64_t>(live.size())));
      f.memory.free(it->first);
      live.erase(it);
    }
    f.memory.use_pool(0);
    if (i % 500 == 499) f.memory.release_pool(1 + rng.below(2));
    if (i % 700 == 699) f.memory.release_cache();
  }
  for (const auto& [p, bytes] : live) f.memory.free(p);
  f.memory.release_pool(1);
  f.memory.release_pool(2);
  f.stream->wait();
  CHECK(apart);
  const auto s = f.memory.stats();
  CHECK(s.used == 0 && s.pooled == 0 && s.blocks == 0 && s.cached == static_cast<int64_t>(held));
  f.memory.release_cache();
  f.stream->wait();
  CHECK(held == 0 && f.memory.stats().cached == 0);
}

void limit() {
  Fixture f;
  f.memory.set_limit(static_cast<int64_t>(8 * kMiB));
  void* a = f.memory.allocate(3 * kMiB, "matmul");
  void* b = f.memory.allocate(4 * kMiB, "softmax");
  f.memory.allocate(kMiB / 2, "matmul");
  std::string message;
  ErrorCode code{};
  try {
    f.memory.allocate(kMiB, "zeros");
  } catch (const OpError& e) {
    message = e.what();
    code = e.code;
  }
  CHECK_MSG(message ==
                "zeros: out of memory: asked for 1.0 MiB, 7.5 MiB in use of a limit of 8.0 MiB, 0.5 MiB free, largest free block 0.0 MiB. "
                "Made by: softmax 4.0 MiB, matmul 3.5 MiB. It would fit with 0.5 MiB less in use (smaller micro-batches and more "
                "accumulation, a shorter context) or with a limit of 8.5 MiB",
            "%s", message.c_str());
  CHECK(code == ErrorCode::out_of_memory);
  CHECK(f.memory.stats().used == static_cast<int64_t>(7 * kMiB + kMiB / 2));  // nothing was taken
  f.memory.free(a);
  CHECK(f.memory.allocate(3 * kMiB, "zeros") == a);
  // A cached block that is a little larger must not carry the sum over the limit.
  f.memory.free(b);
  f.memory.allocate(kMiB / 10 * 9, "x");
  CHECK(f.memory.allocate(3 * kMiB + kMiB / 4, "y") == b);
  CHECK(f.memory.stats().used <= f.memory.stats().limit);
  f.memory.set_limit(0);
  CHECK(f.memory.allocate(64 * kMiB, "z") != nullptr);
}

// The system has no more: what is cached goes back first, then there is an error.
void system_is_full() {
  {
    Fixture f;
    system_limit = 8 * kMiB;
    void* a = f.memory.allocate(6 * kMiB, "a");
    f.memory.free(a);
    void* b = f.memory.allocate(7 * kMiB, "b");  // only fits once the 6 MiB are given back
    CHECK(b != nullptr);
    CHECK(f.memory.stats().cached == 0);
    const std::string message = check::error_of([&] { f.memory.allocate(6 * kMiB, "c"); });
    CHECK_MSG(message ==
                  "c: out of memory: asked for 6.0 MiB, 7.0 MiB in use and the system gives no more, 1.0 MiB free, largest free block "
                  "0.0 MiB. Made by: b 7.0 MiB. It would fit with 5.0 MiB less in use (smaller micro-batches and more accumulation, a "
                  "shorter context)",
              "%s", message.c_str());
    // A large block is cut for a small request only when there is nothing else.
    f.memory.free(b);
    CHECK(f.memory.allocate(kMiB, "d") != b);
    CHECK(f.memory.allocate(kMiB / 2, "e") == b);
    CHECK(f.memory.stats().cached == static_cast<int64_t>(6 * kMiB + kMiB / 2));
    system_limit = SIZE_MAX;
  }
  CHECK(held == 0);
}

// What tests make fail, and who is asked then.
void told_to_fail() {
  Fixture f;
  void* a = f.memory.allocate(3000, "a");
  CHECK(f.memory.bytes_of(a) == 3072);
  f.memory.set_holders([] { return std::string("\n  Held by: a"); });
  f.memory.fail_at(2);
  void* b = f.memory.allocate(100, "b");
  const std::string message = check::error_of([&] { f.memory.allocate(100, "c"); });
  CHECK_MSG(message ==
                "c: out of memory: asked for 0.2 KiB, 3.2 KiB in use and the system gives no more, largest free block 0.0 MiB. Made by: "
                "a 3.0 KiB, b 0.2 KiB. It would fit with 0.2 KiB less in use (smaller micro-batches and more accumulation, a shorter "
                "context)\n  Held by: a",
            "%s", message.c_str());
  CHECK(f.memory.stats().blocks == 2);
  f.memory.free(b);
  CHECK(f.memory.allocate(100, "d") == b);  // once
}

// Cached memory goes back in stream order, after its last use, even past an error.
void release() {
  {
    Fixture f;
    void* a = f.memory.allocate(kMiB, "a");
    f.stream->enqueue("bad", [] { throw OpError("broken"); });
    f.memory.free(a);
    f.memory.release_cache();
    CHECK(f.memory.stats().cached == 0);
    CHECK(check::error_of([&] { f.stream->wait(); }) == "broken");
    CHECK(held == 0);
    f.memory.free(f.memory.allocate(kMiB, "b"));
    f.stream->enqueue("slow", [] { std::this_thread::sleep_for(std::chrono::milliseconds(20)); });
    f.memory.release_cache();  // the stream ends before it gets there
  }
  CHECK(held == 0);
}

// Shapes that change all the time do not pile up.
void changing_shapes() {
  Fixture f;
  for (size_t i = 0; i < 400; ++i) f.memory.free(f.memory.allocate(kMiB + i * kMiB / 2, "x"));
  f.stream->wait();
  CHECK_MSG(held < 400 * kMiB, "%zu MiB held", held / kMiB);
}

}  // namespace

int main() {
  reuse();
  split_and_merge();
  disjoint();
  exact();
  pools();
  disjoint_pools();
  limit();
  system_is_full();
  told_to_fail();
  release();
  changing_shapes();
  return check::result();
}
