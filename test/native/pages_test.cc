// Large blocks come from the system and go back to it, whatever malloc has learnt from those that were freed before.
#include "core/pages.h"

#ifdef __GLIBC__
#include <malloc.h>
#endif

#include <cstdint>
#include <cstdlib>
#include <limits>
#include <memory>

#include "check.h"
#include "core/device.h"
#include "cpu/host/pool.h"

namespace {

constexpr size_t kMiB = size_t{1} << 20;

void aligned_and_zero() {
  for (const size_t alignment : {size_t{4096}, 2 * kMiB})
    for (const size_t bytes : {size_t{1}, size_t{4096}, size_t{4097}, kMiB, 5 * kMiB + 1}) {
      auto* p = static_cast<unsigned char*>(heddle::map_pages(bytes, alignment));
      CHECK(p && reinterpret_cast<uintptr_t>(p) % alignment == 0);
      for (const size_t at : {size_t{0}, bytes / 2, bytes - 1}) CHECK(p[at] == 0);
      p[0] = p[bytes - 1] = 255;
      heddle::unmap_pages(p, bytes);
    }
  heddle::unmap_pages(nullptr, kMiB);
#if !defined(__SANITIZE_ADDRESS__)  // it ends the program where there is no memory
  for (const size_t most : {std::numeric_limits<size_t>::max(), std::numeric_limits<size_t>::max() / 4})
    CHECK(!heddle::map_pages(most) && !heddle::map_pages(most, 2 * kMiB));
#endif
}

#if defined(__GLIBC__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)

// What malloc has from the system, in arenas and in blocks of their own.
size_t of_malloc() {
  const struct mallinfo2 m = mallinfo2();
  return m.arena + m.hblkhd;
}

// A device with a tensor, its queue and its threads' scratch takes nothing large from malloc. The block of 16 MiB that is freed before
// makes malloc give blocks of up to that size from its arenas from then on: there a device that goes would leave them.
void no_arenas() {
  std::free(std::malloc(16 * kMiB));
  const size_t before = of_malloc();
  const auto device = heddle::make_cpu_device(2);
  void* block = device->memory->allocate(3 * kMiB, "test");
  device->stream->enqueue("scratch", [] {
    const auto item = [](void*, int64_t) { heddle::cpu::pool_scratch(0, 3 * kMiB / sizeof(float)); };
    heddle::cpu::pool_run(2, item, nullptr);
  });
  device->stream->wait();
  const size_t during = of_malloc();
  if (!(during < before + kMiB)) std::fprintf(stderr, "malloc has %zu KiB more\n", (during - before) >> 10);
  CHECK(during < before + kMiB);
  device->memory->free(block);
}

#else

void no_arenas() {}

#endif

}  // namespace

int main() {
  check::backend();
  aligned_and_zero();
  no_arenas();
  return check::result();
}
