#pragma once
// Random shapes and strides, and a slow walk over views, for the tests of strided kernels.
#include "check.h"
#include "cpu/host/thread_pool.h"

namespace check {

using Shape = std::vector<int64_t>;

inline int64_t elements(const Shape& shape) {
  int64_t n = 1;
  for (int64_t d : shape) n *= d;
  return n;
}

inline Shape random_shape(Rng& rng, int max_rank = 5, int64_t max_size = 9) {
  Shape shape(static_cast<size_t>(rng.below(max_rank + 1)));
  for (int64_t& d : shape) d = 1 + rng.below(max_size);
  return shape;
}

inline Shape dense_strides(const Shape& shape) {
  Shape strides(shape.size());
  int64_t step = 1;
  for (size_t d = shape.size(); d-- > 0;) {
    strides[d] = step;
    step *= shape[d];
  }
  return strides;
}

// A random order of the dimensions in memory, with gaps; with `broadcast` some dimensions have stride 0.
inline Shape random_strides(Rng& rng, const Shape& shape, bool broadcast = false) {
  std::vector<size_t> order(shape.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = i;
  for (size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[static_cast<size_t>(rng.below(static_cast<int64_t>(i)))]);
  Shape strides(shape.size());
  int64_t step = 1 + (rng.below(3) == 0);
  for (size_t d : order) {
    if (broadcast && rng.below(3) == 0) continue;
    strides[d] = step;
    step = step * shape[d] + (rng.below(4) == 0 ? rng.below(5) : 0);
  }
  return strides;
}

// Elements of memory that the view spans.
inline int64_t extent(const Shape& shape, const Shape& strides) {
  int64_t last = 0;
  for (size_t d = 0; d < shape.size(); ++d) {
    if (shape[d] == 0) return 0;
    last += (shape[d] - 1) * strides[d];
  }
  return last + 1;
}

inline heddle::View view(void* data, heddle::DType dtype, const Shape& shape, const Shape& strides) {
  heddle::View v{data, dtype, static_cast<int32_t>(shape.size()), {}, {}};
  for (size_t d = 0; d < shape.size(); ++d) {
    v.shape[d] = shape[d];
    v.stride[d] = strides[d];
  }
  return v;
}

// The offset of the element at row-major position i.
inline int64_t offset(const Shape& shape, const Shape& strides, int64_t i) {
  int64_t at = 0;
  for (size_t d = shape.size(); d-- > 0;) {
    at += i % shape[d] * strides[d];
    i /= shape[d];
  }
  return at;
}

// Runs f with one thread and with three: the second must leave the same bits in `out`, which is poisoned before each.
template <class T, class F>
void same_for_threads(Buffer<T>& out, const char* what, F&& f) {
  static heddle::cpu::ThreadPool one(1), three(3);
  three.make_current();
  f();
  Buffer<T> threaded(out.size());
  threaded.copy(out);
  out.poison();
  one.make_current();
  f();
  report(out.same_bits(threaded), __FILE__, __LINE__, std::string(what) + ": bits depend on the number of threads");
}

}  // namespace check
