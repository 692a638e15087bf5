#pragma once
// Memory straight from the system, and at once back to it.
//
// malloc does that for large blocks as well, but glibc's raises the size from which it does to that of the largest block that was freed.
// From then on blocks of MiB come from the arenas of threads, where one that lives keeps its neighbours from the system: a process whose
// worker threads come and go grew by 40 to 90 KiB with each, all of it free.
#include <cstddef>
#include <new>

namespace heddle {

// From this size on glibc's malloc asks the system for a block of its own, at first.
constexpr size_t kMappedBytes = size_t{128} << 10;

// Zeros. `alignment`: a power of two, a page or more. Null: the system has no memory.
void* map_pages(size_t bytes, size_t alignment = 4096);
void unmap_pages(void* p, size_t bytes);

// For containers that are large for as long as they live.
template <class T>
struct PageAllocator {
  using value_type = T;
  PageAllocator() = default;
  template <class U>
  PageAllocator(const PageAllocator<U>&) {}

  T* allocate(size_t n) {
    void* p = map_pages(n * sizeof(T));
    if (!p) throw std::bad_alloc();
    return static_cast<T*>(p);
  }
  void deallocate(T* p, size_t n) { unmap_pages(p, n * sizeof(T)); }
  bool operator==(const PageAllocator&) const { return true; }
};

}  // namespace heddle
