#pragma once
// What the native tests share. A test is a program: main() calls check(...)s and returns result(); exit status 0 passed,
// 1 failed, 77 skipped because HEDDLE_CPU asks for a level that this machine lacks.
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "core/error.h"
#include "cpu/host/dispatch.h"

namespace check {

inline int failures = 0;
inline int passes = 0;

inline void report(bool ok, const char* file, int line, const std::string& what) {
  if (ok) {
    ++passes;
    return;
  }
  if (++failures <= 20) std::fprintf(stderr, "%s:%d: failed: %s\n", file, line, what.c_str());
}

// The test's exit status. A test that checked nothing has failed.
inline int result() {
  if (failures || !passes) std::fprintf(stderr, "%d of %d checks failed\n", failures, failures + passes);
  return failures || !passes ? 1 : 0;
}

// The kernels of the level that HEDDLE_CPU names, or the best one; leaves the program with 77 where there is none.
inline const heddle::Backend& backend() {
  try {
    return heddle::cpu::backend();
  } catch (const heddle::OpError& e) {
    std::fprintf(stderr, "skipped: %s\n", e.what());
    std::exit(77);
  }
}

template <class... A>
std::string text(const char* format, A... a) {
  char s[512];
  std::snprintf(s, sizeof s, format, a...);
  return s;
}

// Reproducible numbers: splitmix64, independent of the engine's generator.
class Rng {
 public:
  explicit Rng(uint64_t seed) : state_(seed) {}
  uint64_t next() {
    uint64_t z = state_ += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
  }
  double unit() { return static_cast<double>(next() >> 11) * 0x1p-53; }  // [0, 1)
  double uniform(double low, double high) { return low + (high - low) * unit(); }
  double normal() { return std::sqrt(-2 * std::log(1 - unit())) * std::cos(6.283185307179586 * unit()); }
  int64_t below(int64_t n) { return static_cast<int64_t>(next() % static_cast<uint64_t>(n)); }  // [0, n)

 private:
  uint64_t state_;
};

// n elements between two guard zones. Starts at an address that is only aligned to an element, as a slice of a tensor may be.
// Fresh buffers hold NaN (f32) or a large negative number, so that reading what was never written shows.
template <class T>
class Buffer {
 public:
  explicit Buffer(int64_t n) : n_(n), bytes_(kGuard * 2 + 64 + sizeof(T) * static_cast<size_t>(n), kByte) {
    const auto address = reinterpret_cast<uintptr_t>(bytes_.data()) + kGuard;
    start_ = (64 - address % 64) % 64 + kGuard + sizeof(T);
    poison();
  }
  T* data() { return reinterpret_cast<T*>(bytes_.data() + start_); }
  const T* data() const { return reinterpret_cast<const T*>(bytes_.data() + start_); }
  int64_t size() const { return n_; }
  T& operator[](int64_t i) { return data()[i]; }
  const T& operator[](int64_t i) const { return data()[i]; }
  T* begin() { return data(); }
  T* end() { return data() + n_; }
  const T* begin() const { return data(); }
  const T* end() const { return data() + n_; }

  void poison() {
    for (int64_t i = 0; i < n_; ++i) {
      if constexpr (std::numeric_limits<T>::has_quiet_NaN)
        data()[i] = std::numeric_limits<T>::quiet_NaN();
      else
        data()[i] = static_cast<T>(-0x5a5a5a5a);
    }
  }
  Buffer& normal(Rng& rng, double scale = 1, double shift = 0) {
    for (T& x : *this) x = static_cast<T>(shift + scale * rng.normal());
    return *this;
  }
  Buffer& fill(T value) {
    for (T& x : *this) x = value;
    return *this;
  }
  Buffer& copy(const Buffer& other) {
    std::memcpy(data(), other.data(), sizeof(T) * static_cast<size_t>(n_));
    return *this;
  }
  // Whether nothing outside the elements was written.
  bool guarded() const {
    const size_t end = start_ + sizeof(T) * static_cast<size_t>(n_);
    for (size_t i = 0; i < bytes_.size(); ++i)
      if ((i < start_ || i >= end) && bytes_[i] != kByte) return false;
    return true;
  }
  bool same_bits(const Buffer& other) const {
    return n_ == other.n_ && std::memcmp(data(), other.data(), sizeof(T) * static_cast<size_t>(n_)) == 0;
  }

  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;

 private:
  static constexpr size_t kGuard = 256;
  static constexpr unsigned char kByte = 0xa5;
  int64_t n_;
  std::vector<unsigned char> bytes_;
  size_t start_;
};

using Floats = Buffer<float>;
using Ints = Buffer<int32_t>;

// max |a - ref| / max(max |ref|, floor). Infinite where one is not finite and the other differs: NaN matches only NaN,
// infinity only the same infinity.
inline double scaled_error(const float* a, const double* ref, int64_t n, double floor = 1e-3) {
  double diff = 0, scale = floor;
  for (int64_t i = 0; i < n; ++i) {
    const double x = a[i], y = ref[i];
    if (std::isnan(x) && std::isnan(y)) continue;
    if (!std::isfinite(x) || !std::isfinite(y)) {
      if (x != y) return std::numeric_limits<double>::infinity();
      continue;
    }
    diff = std::fmax(diff, std::fabs(x - y));
    scale = std::fmax(scale, std::fabs(y));
  }
  return diff / scale;
}
inline double scaled_error(const Floats& a, const std::vector<double>& ref, double floor = 1e-3) {
  if (a.size() != static_cast<int64_t>(ref.size())) return std::numeric_limits<double>::infinity();
  return scaled_error(a.data(), ref.data(), a.size(), floor);
}

// The message of the OpError that f throws, or "" when it throws none.
template <class F>
std::string error_of(F&& f) {
  try {
    f();
  } catch (const heddle::OpError& e) {
    return e.what();
  }
  return "";
}

}  // namespace check

#define CHECK(...) ::check::report(static_cast<bool>(__VA_ARGS__), __FILE__, __LINE__, #__VA_ARGS__)
// CHECK with words of one's own: CHECK_MSG(ok, "rows=%d", rows).
#define CHECK_MSG(ok, ...) ::check::report(static_cast<bool>(ok), __FILE__, __LINE__, ::check::text(__VA_ARGS__))
// The buffer is within `tolerance` (scaled error) of the reference and nothing around it was written.
#define CHECK_CLOSE(buffer, ref, tolerance, ...)                                                                            \
  do {                                                                                                                      \
    const double check_error = ::check::scaled_error(buffer, ref);                                                          \
    ::check::report(check_error <= (tolerance), __FILE__, __LINE__,                                                         \
                    ::check::text("%s: scaled error %.3g > %.3g, ", #buffer, check_error, static_cast<double>(tolerance)) + \
                        ::check::text(__VA_ARGS__));                                                                        \
    ::check::report((buffer).guarded(), __FILE__, __LINE__, #buffer " wrote outside, " + ::check::text(__VA_ARGS__));       \
  } while (0)
