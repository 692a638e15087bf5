#pragma once
// Writing outputs. One that is larger than the caches is written past them (past_caches): an ordinary store would first read the line
// that it overwrites. Memory is then busy all the time, so inputs are fetched ahead: the processor's own prefetching gives up where
// stores and arithmetic come in between. Only for files compiled per instruction set (kernels.h).
#include "cpu/host/caches.h"
#include "cpu/vec.h"

namespace heddle::cpu::HEDDLE_ISA {
namespace {

constexpr int64_t kLine = 64;    // bytes
constexpr int64_t kAhead = 512;  // elements: how far ahead inputs are fetched

// Elements before the next line begins.
template <class T>
inline int64_t to_line(const T* p) {
  return static_cast<int64_t>(-reinterpret_cast<uintptr_t>(p) % kLine / sizeof(T));
}

// p must be aligned to a vector. Others see it once the item has ended (pool_run).
inline void store_past(float* p, vf v) {
#if defined(__AVX512F__)
  _mm512_stream_ps(p, (__m512)v);
#elif defined(__AVX2__)
  _mm256_stream_ps(p, (__m256)v);
#elif defined(__x86_64__)
  _mm_stream_ps(p, (__m128)v);
#else
  store(p, v);
#endif
}

// The first n lanes; past the caches p must be aligned to a vector.
inline void put(bool past, float* p, vf v, int n) {
  if (n != VW)
    store_part(p, v, n);
  else if (past)
    store_past(p, v);
  else
    store(p, v);
}

// Fetches the line that is kAhead elements behind p; it may lie outside of p's array.
template <class T>
inline void fetch(const T* p) {
  __builtin_prefetch(p + kAhead);
}
template <class T>
inline void fetch(const T* p, int64_t n) {  // n elements
  for (int64_t i = 0; i < n; i += kLine / static_cast<int64_t>(sizeof(T))) fetch(p + i);
}

// For kernels that go over rows of C elements more than once: fetch(next_row(p, C)) fetches what the next row has at p's place.
inline const float* next_row(const float* p, int64_t C) { return C > kAhead ? p + (C - kAhead) : p; }

// out[i] = f(i, count): a vector of `count` elements from i on, for all of [0, n). `inputs`: the dense arrays that f reads at i.
template <class F, class... S>
inline void write_vectors(bool past, float* out, int64_t n, F&& f, const S*... inputs) {
  int64_t end = past ? to_line(out) % VW : 0;  // a part of a vector up to here, so that whole ones are aligned
  if (end > n) end = n;
  for (int64_t i = 0;;) {
    for (; i < end; i += VW) {
      const int count = static_cast<int>(end - i < VW ? end - i : VW);
      store_part(out + i, f(i, count), count);
    }
    if (end == n) break;
    for (i = end; i + VW <= n; i += VW) {
      if (past) (fetch(inputs + i), ...);
      put(past, out + i, f(i, VW), VW);
    }
    end = n;
  }
}

// The same for elements of any type: f(low, high, to) computes elements [low, high) into `to`. Past the caches they go by chunks, from
// the L1 cache.
template <class T, class F, class... S>
inline void write_chunks(bool past, T* out, int64_t n, F&& f, const S*... inputs) {
  if (!past) return f(int64_t{0}, n, out);
  constexpr int64_t line = kLine / static_cast<int64_t>(sizeof(T)), chunk = 16 * line;
  alignas(64) T buffer[chunk];
  int64_t low = to_line(out);
  if (low > n) low = n;
  f(int64_t{0}, low, out);
  for (; low + line <= n;) {
    const int64_t high = low + chunk <= n ? low + chunk : low + (n - low) / line * line;
    f(low, high, buffer);
    for (int64_t i = low; i < high; i += line) {
      (fetch(inputs + i, line), ...);
      const float* from = reinterpret_cast<const float*>(buffer + (i - low));
      for (int j = 0; j < kLine / 4; j += VW) store_past(reinterpret_cast<float*>(out + i) + j, load(from + j));
    }
    low = high;
  }
  f(low, n, out + low);
}

}  // namespace
}  // namespace heddle::cpu::HEDDLE_ISA
