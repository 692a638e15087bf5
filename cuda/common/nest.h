#pragma once
// N arrays of one shape, each with its own strides, in as few dimensions as the strides allow. Host only.
#include <cstdint>
#include <functional>

#include "ops/backend.h"

namespace heddle::cuda {

// At least one dimension; dimension 0 is the row, which runs along the smallest stride of the first array, the one written.
template <int N>
struct Nest {
  int rank = 0;
  int64_t shape[kMaxRank];
  int64_t stride[N][kMaxRank];
  int64_t offset[N] = {};  // where this part of the arrays begins

  // Out of line, as each_part: a file launches dozens of kernels through them, each a copy for the compiler.
  [[gnu::noinline]] explicit Nest(const View* const (&views)[N]) {
    const View& first = *views[0];
    for (int d = first.rank - 1; d >= 0; --d) {
      if (first.shape[d] == 1) continue;
      int at = rank++;
      for (; at > 0 && magnitude(stride[0][at - 1]) > magnitude(first.stride[d]); --at) move(at - 1, at);
      shape[at] = first.shape[d];
      for (int i = 0; i < N; ++i) stride[i][at] = views[i]->stride[d];
    }
    if (rank == 0) {
      shape[0] = 1;
      for (int i = 0; i < N; ++i) stride[i][0] = 1;
      rank = 1;
    }
    int last = 0;  // merge a dimension into the one inside it where every array steps through both as through one
    for (int d = 1; d < rank; ++d) {
      bool merge = true;
      for (int i = 0; i < N; ++i) merge = merge && stride[i][d] == stride[i][last] * shape[last];
      if (merge)
        shape[last] *= shape[d];
      else
        move(d, ++last);
    }
    rank = last + 1;
  }

  int64_t elements() const {
    int64_t n = 1;
    for (int d = 0; d < rank; ++d) n *= shape[d];
    return n;
  }

  // f(part) for parts of at most `limit` elements: kernels count in 32 bits.
  [[gnu::noinline]] void each_part(int64_t limit, const std::function<void(const Nest&)>& f) const {
    const int64_t n = elements();
    if (n == 0) return;
    if (n <= limit) return f(*this);
    int d = rank - 1;
    while (shape[d] == 1) --d;
    Nest low = *this, high = *this;
    low.shape[d] = shape[d] > 128 ? shape[d] / 128 * 64 : shape[d] / 2;  // a row stays aligned
    high.shape[d] = shape[d] - low.shape[d];
    for (int i = 0; i < N; ++i) high.offset[i] += low.shape[d] * stride[i][d];
    low.each_part(limit, f);
    high.each_part(limit, f);
  }

 private:
  static int64_t magnitude(int64_t x) { return x < 0 ? -x : x; }
  void move(int from, int to) {
    shape[to] = shape[from];
    for (int i = 0; i < N; ++i) stride[i][to] = stride[i][from];
  }
};

constexpr int64_t kPart = int64_t{1} << 30;  // elements of one launch over a Nest

}  // namespace heddle::cuda
