#include "core/pages.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>

namespace heddle {

#if defined(__SANITIZE_ADDRESS__)

// The sanitizer sees what is written outside of a block of malloc, and leaks of them.
void* map_pages(size_t bytes, size_t alignment) {
  void* p = std::aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment);
  if (p) std::memset(p, 0, bytes);
  return p;
}

void unmap_pages(void* p, size_t) { std::free(p); }

#else

namespace {

size_t page_size() {
  static const auto size = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  return size;
}

size_t in_pages(size_t bytes) { return (bytes + page_size() - 1) / page_size() * page_size(); }

}  // namespace

void* map_pages(size_t bytes, size_t alignment) {
  const size_t size = in_pages(bytes), extra = alignment > page_size() ? alignment : 0;
  if (size < bytes || size + extra < size) return nullptr;
  void* mapped = mmap(nullptr, size + extra, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapped == MAP_FAILED) return nullptr;
  char* const from = static_cast<char*>(mapped);
  const size_t before = extra ? (alignment - reinterpret_cast<uintptr_t>(from) % alignment) % alignment : 0;
  if (before) munmap(from, before);
  if (extra > before) munmap(from + before + size, extra - before);
  return from + before;
}

void unmap_pages(void* p, size_t bytes) {
  if (p) munmap(p, in_pages(bytes));
}

#endif

}  // namespace heddle
