#pragma once
// Walking N arrays of one shape with their own strides: dimensions are collapsed as far as the strides allow, what remains
// is a nest of rows, and a row is a plain loop. Only for files compiled per instruction set (kernels.h).
#include "cpu/kernels.h"

namespace heddle::cpu::HEDDLE_ISA {
namespace {

constexpr int64_t kPiece = 16384;  // elements of one parallel item

inline int64_t magnitude(int64_t x) { return x < 0 ? -x : x; }

// At least one dimension; the last is the row. Strides count elements of the array they belong to.
template <int N>
struct Nest {
  int rank = 0;
  int64_t shape[kMaxRank];
  int64_t stride[N][kMaxRank];

  // The first view is the one written: rows run along its smallest stride.
  explicit Nest(const View* const (&views)[N]) {
    const View& first = *views[0];
    for (int d = 0; d < first.rank; ++d) {
      if (first.shape[d] == 1) continue;
      int at = rank++;
      for (; at > 0 && magnitude(stride[0][at - 1]) < magnitude(first.stride[d]); --at) move(at - 1, at);
      shape[at] = first.shape[d];
      for (int i = 0; i < N; ++i) stride[i][at] = views[i]->stride[d];
    }
    if (rank == 0) {
      shape[0] = 1;
      for (int i = 0; i < N; ++i) stride[i][0] = 1;
      rank = 1;
    }
    int last = 0;  // merge a dimension into the one before it where every array steps through both as through one
    for (int d = 1; d < rank; ++d) {
      bool merge = true;
      for (int i = 0; i < N; ++i) merge = merge && stride[i][last] == stride[i][d] * shape[d];
      if (merge) {
        shape[last] *= shape[d];
        for (int i = 0; i < N; ++i) stride[i][last] = stride[i][d];
      } else {
        move(d, ++last);
      }
    }
    rank = last + 1;
  }

  int64_t row() const { return shape[rank - 1]; }
  int64_t row_stride(int i) const { return stride[i][rank - 1]; }
  int64_t rows() const {
    int64_t n = 1;
    for (int d = 0; d + 1 < rank; ++d) n *= shape[d];
    return n;
  }

 private:
  void move(int from, int to) {
    shape[to] = shape[from];
    for (int i = 0; i < N; ++i) stride[i][to] = stride[i][from];
  }
};

// The offsets of the rows, in order, from any row on.
template <int N>
struct RowWalk {
  const Nest<N>& nest;
  int64_t offset[N] = {};
  int64_t index[kMaxRank] = {};

  RowWalk(const Nest<N>& n, int64_t row) : nest(n) {
    for (int d = nest.rank - 2; d >= 0; --d) {
      index[d] = row % nest.shape[d];
      row /= nest.shape[d];
      for (int i = 0; i < N; ++i) offset[i] += index[d] * nest.stride[i][d];
    }
  }
  void next() {
    for (int d = nest.rank - 2; d >= 0; --d) {
      for (int i = 0; i < N; ++i) offset[i] += nest.stride[i][d];
      if (++index[d] < nest.shape[d]) return;
      for (int i = 0; i < N; ++i) offset[i] -= nest.stride[i][d] * nest.shape[d];
      index[d] = 0;
    }
  }
};

// Calls row(context, offset[N], count) for every row, long rows in several pieces, on the stream's threads. Not inlined and
// through a pointer: the walk is long, and kernels come by the dozen.
template <int N>
[[gnu::noinline]] void walk_rows(const Nest<N>& nest, void (*row_of)(void*, const int64_t*, int64_t), void* context) {
  const int64_t row = nest.row(), rows = nest.rows();
  if (row == 0 || rows == 0) return;
  if (row > kPiece) {
    const int64_t pieces = (row + kPiece - 1) / kPiece;
    parallel(rows * pieces, [&](int64_t item) {
      RowWalk<N> walk(nest, item / pieces);
      const int64_t low = item % pieces * kPiece;
      for (int i = 0; i < N; ++i) walk.offset[i] += low * nest.row_stride(i);
      row_of(context, walk.offset, low + kPiece < row ? kPiece : row - low);
    });
    return;
  }
  parallel_range(rows, kPiece / row, [&](int64_t low, int64_t high) {
    RowWalk<N> walk(nest, low);
    for (int64_t r = low; r < high; ++r, walk.next()) row_of(context, walk.offset, row);
  });
}

// f(offset[N], count) for every row.
template <int N, class F>
inline void for_each_row(const Nest<N>& nest, F&& f) {
  walk_rows(nest, [](void* context, const int64_t* offset, int64_t n) { (*static_cast<decltype(&f)>(context))(offset, n); }, &f);
}

}  // namespace
}  // namespace heddle::cpu::HEDDLE_ISA
