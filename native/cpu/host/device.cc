#include "core/device.h"

#include <sched.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <thread>

#include "core/error.h"
#include "core/pages.h"
#include "cpu/host/caches.h"
#include "cpu/host/dispatch.h"
#include "cpu/host/pool.h"
#include "cpu/host/thread_pool.h"

namespace heddle {
namespace {

constexpr size_t kHuge = size_t{2} << 20;

void* allocate(size_t bytes) {
  if (bytes < kMappedBytes) return std::aligned_alloc(64, (bytes + 63) / 64 * 64);
  const bool large = bytes >= 2 * kHuge;
  void* p = large ? map_pages(bytes, kHuge) : map_pages(bytes);
#ifdef MADV_HUGEPAGE
  if (p && large) madvise(p, bytes, MADV_HUGEPAGE);  // fewer TLB misses in matmul; a wish, not a need
#endif
  return p;
}

void release(void* p, size_t bytes) { bytes < kMappedBytes ? std::free(p) : unmap_pages(p, bytes); }

// What is left of the process's address space where that is limited (ulimit -v); negative: no limit, or not known.
int64_t address_space_left() {
  rlimit limit;
  if (getrlimit(RLIMIT_AS, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return -1;
  FILE* file = std::fopen("/proc/self/statm", "r");
  if (!file) return -1;
  long long pages = 0;
  const bool read = std::fscanf(file, "%lld", &pages) == 1;
  std::fclose(file);
  return read ? std::max<int64_t>(0, static_cast<int64_t>(limit.rlim_cur) - pages * sysconf(_SC_PAGESIZE)) : -1;
}

int64_t available() {
  const int64_t space = address_space_left();
#ifdef _SC_AVPHYS_PAGES
  const int64_t memory = static_cast<int64_t>(sysconf(_SC_AVPHYS_PAGES)) * sysconf(_SC_PAGESIZE);
  return space < 0 ? memory : std::min(space, memory);
#else
  return space;
#endif
}

void copy_bytes(void* to, const void* from, size_t bytes) { std::memcpy(to, from, bytes); }

// Pieces side by side: one thread does not take bytes out of the page cache as fast as memory takes them.
void read_bytes(void* to, int file, int64_t offset, size_t bytes) {
  static constexpr size_t kPiece = size_t{1} << 20;
  struct Read {
    char* to;
    int file;
    int64_t offset;
    size_t bytes;
  } read{static_cast<char*>(to), file, offset, bytes};
  cpu::pool_run(
      static_cast<int64_t>((bytes + kPiece - 1) / kPiece),
      [](void* context, int64_t item) {
        const Read& r = *static_cast<const Read*>(context);
        const size_t end = std::min(r.bytes, (static_cast<size_t>(item) + 1) * kPiece);
        for (size_t at = static_cast<size_t>(item) * kPiece; at < end;) {
          const ssize_t got = pread(r.file, r.to + at, end - at, static_cast<off_t>(r.offset) + static_cast<off_t>(at));
          if (got < 0 && errno == EINTR) continue;
          if (got < 0) throw OpError(std::string("readFile: ") + std::strerror(errno));
          if (got == 0) throw OpError("readFile: the file is cut short");
          at += static_cast<size_t>(got);
        }
      },
      &read);
}

}  // namespace

int default_threads() {
  if (const char* text = std::getenv("HEDDLE_THREADS"); text && *text) {
    char* end;
    const long n = std::strtol(text, &end, 10);
    if (*end || n < 1 || n > 1024) throw OpError("HEDDLE_THREADS must be an integer from 1 to 1024, got " + std::string(text));
    return static_cast<int>(n);
  }
#ifdef __linux__
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) return std::max(1, CPU_COUNT(&set));
#endif
  return std::max(1u, std::thread::hardware_concurrency());
}

std::unique_ptr<Device> make_cpu_device(int threads) {
  auto device = std::make_unique<Device>();
  device->name = "cpu";
  device->backend = &cpu::backend();
  cpu::cache_bytes();  // a wrong HEDDLE_CACHE_BYTES is told now, not by a kernel
  device->computes_half = false;
  device->copy_in = copy_bytes;
  device->copy_out = copy_bytes;
  device->read_in = read_bytes;
  auto pool = std::make_shared<std::unique_ptr<cpu::ThreadPool>>();
  device->stream = std::make_unique<Stream>(Stream::Hooks{
      [pool, threads] {
        *pool = std::make_unique<cpu::ThreadPool>(threads);
        (*pool)->make_current();
      },
      [pool] { pool->reset(); },
      nullptr,
  });
  device->threads = threads;
  device->set_threads = [pool, d = device.get()](int n) {
    d->stream->enqueue_always("setThreads", [own = pool.get(), n] {
      auto next = std::make_unique<cpu::ThreadPool>(n);
      next->make_current();
      *own = std::move(next);
    });
    d->threads = n;
  };
  device->fail_scratch_at = [pool, d = device.get()](int64_t n) {
    d->stream->enqueue_always("failAt", [own = pool.get(), n] { (*own)->fail_scratch_at(n); });
  };
  device->memory = std::make_unique<Allocator>(Allocator::Source{allocate, release, available}, device->stream.get());
  return device;
}

}  // namespace heddle
