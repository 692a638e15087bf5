// The caching allocator: reuse, figures, the limit and what its error says, memory that goes back to the system.
#include "core/allocator.h"

#include <map>

#include "check.h"
#include "core/stream.h"

using heddle::Allocator;
using heddle::ErrorCode;
using heddle::OpError;
using heddle::Stream;

namespace {

// A system that counts, and has only so much memory.
size_t held = 0, calls = 0, system_limit = SIZE_MAX;
std::map<void*, size_t> blocks;

void* take(size_t bytes) {
  if (held + bytes > system_limit) return nullptr;
  held += bytes;
  ++calls;
  void* p = std::malloc(bytes);
  blocks[p] = bytes;
  return p;
}

void give(void* p, size_t bytes) {
  CHECK(blocks.count(p) == 1 && blocks[p] == bytes);
  blocks.erase(p);
  held -= bytes;
  std::free(p);
}

const Allocator::Source kSource{take, give};
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
    // A block a quarter larger at most is used; a far larger one waits for its like.
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
                "zeros: out of memory: asked for 1.0 MiB, 7.5 MiB in use of a limit of 8.0 MiB, largest free block 0.0 MiB. "
                "Made by: softmax 4.0 MiB, matmul 3.5 MiB",
            "%s", message.c_str());
  CHECK(code == ErrorCode::out_of_memory);
  CHECK(f.memory.stats().used == static_cast<int64_t>(7 * kMiB + kMiB / 2));  // nothing was taken
  f.memory.free(a);
  CHECK(f.memory.allocate(3 * kMiB, "zeros") == a);
  // A cached block that is a little larger must not carry the sum over the limit.
  f.memory.free(b);
  f.memory.allocate(kMiB + kMiB / 2, "x");
  void* c = f.memory.allocate(3 * kMiB, "y");
  CHECK(c != b);
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
    void* b = f.memory.allocate(3 * kMiB, "b");  // only fits once the 6 MiB are given back
    CHECK(b != nullptr);
    CHECK(f.memory.stats().cached == 0);
    const std::string message = check::error_of([&] { f.memory.allocate(6 * kMiB, "c"); });
    CHECK_MSG(message ==
                  "c: out of memory: asked for 6.0 MiB, 3.0 MiB in use and the system gives no more, largest free block 0.0 MiB. "
                  "Made by: b 3.0 MiB",
              "%s", message.c_str());
    system_limit = SIZE_MAX;
  }
  CHECK(held == 0);
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
  exact();
  limit();
  system_is_full();
  release();
  changing_shapes();
  return check::result();
}
