#pragma once
// The matrix products of attention: small dense blocks in cache, one register tile at a time.
//
//   C[m][n] = combine(C[m][n], sum_k A(m,k) * B[k][n])
//
// Vectors run along n; A(m,k) = a[m*a_m + k*a_k] is broadcast, so A may be transposed at no cost. Every element is one chain of
// fma over ascending k, whatever the tile, the vector width or the other rows: AVX2 and AVX-512 give the same bits, and so
// do one query and many.
#include "cpu/vec.h"

namespace heddle::cpu::HEDDLE_ISA {
namespace {

// Register tile: kTileRows x kTileVectors accumulators, of 32 vector registers (AVX-512, NEON) or 16.
constexpr int kTileRows = 6;
#if defined(__AVX512F__)
constexpr int kTileVectors = 4;
#else
constexpr int kTileVectors = 2;
#endif
constexpr int kPanel = kTileVectors * VW;

// Rows of memory that are needed next. They lie far apart (a row holds all heads, perhaps q, k and v), which no hardware prefetcher
// follows: the tiles bring them into L2, some lines each, while they compute.
class Fetch {
 public:
  void clear() { added_ = done_ = 0; }
  // to_write: results go there, so the line is asked for as this core's own.
  void rows(const float* from, int64_t stride, int64_t count, int64_t floats, bool to_write = false) {
    if (added_ == kRuns || count <= 0) return;
    const int64_t per_row = (floats + kLine - 1) / kLine;
    run_[added_++] = {from, count * per_row, per_row, stride - per_row * kLine, per_row, to_write};
  }
  void some(int64_t lines) {
    while (lines > 0 && done_ < added_) {
      Run& r = run_[done_];
      const int64_t n = lines < r.lines ? lines : r.lines;
      const float* line = r.line;
      int64_t left = r.left;
      for (int64_t i = 0; i < n; ++i) {
        if (r.to_write) {
          prefetch_to_write(line);
        } else {
          __builtin_prefetch(line, 0, 2);
        }
        line += kLine;
        if (--left == 0) line += r.gap, left = r.per_row;
      }
      lines -= n;
      r.line = line, r.left = left;
      if ((r.lines -= n) == 0) ++done_;
    }
  }

 private:
  static void prefetch_to_write(const float* line) {
#if defined(__x86_64__)
    asm volatile("prefetchw %0" : : "m"(*line));  // the compiler's own only says so with -mprfchw; nothing happens where it is unknown
#else
    __builtin_prefetch(line, 1);
#endif
  }

  static constexpr int kRuns = 8, kLine = 16;
  struct Run {
    const float* line;
    int64_t lines, left, gap, per_row;  // in all, in this row, to the next one, of a whole row
    bool to_write;
  };
  Run run_[kRuns];
  int added_ = 0, done_ = 0;
};
constexpr int64_t kWorkPerLine = 64;  // vectors multiplied while a line comes: 32 cycles

struct Product {
  const float* a;
  int64_t a_m, a_k;
  const float* b;
  int64_t b_k;
  float* c;
  int64_t c_m;
  Fetch* fetch;
  // The sum over k of this call is rounded on its own and then combined: C = keep[m] * C + sum with `keep`, C + sum with `add`,
  // sum otherwise. Long sums are thereby taken in blocks, which halves the digits lost.
  bool add = false;
  const float* keep = nullptr;
};

template <int M, int N>
inline void tile(const Product& p, int64_t m, int64_t depth, const float* b, float* c) {
  vf sum[M][N] = {};
  p.fetch->some(M * N * depth / kWorkPerLine);
  const float* a = p.a + m * p.a_m;
  const int64_t a_m = p.a_m, a_k = p.a_k, b_k = p.b_k;
  for (int64_t k = 0; k < depth; ++k) {
    vf row[N];
#pragma GCC unroll 4
    for (int n = 0; n < N; ++n) row[n] = load(b + n * VW);
#pragma GCC unroll 6
    for (int i = 0; i < M; ++i) {
      const vf x = splat(a[i * a_m]);
#pragma GCC unroll 4
      for (int n = 0; n < N; ++n) sum[i][n] = fma(x, row[n], sum[i][n]);
    }
    a += a_k;
    b += b_k;
  }
  const int64_t c_m = p.c_m;
  c += m * c_m;
  const auto finish = [&](auto combine) {
#pragma GCC unroll 6
    for (int i = 0; i < M; ++i)
#pragma GCC unroll 4
      for (int n = 0; n < N; ++n) {
        float* out = c + i * c_m + n * VW;
        store(out, combine(out, i, sum[i][n]));
      }
  };
  if (const float* keep = p.keep) {
    keep += m;
    finish([=](const float* out, int i, vf x) { return fma(load(out), splat(keep[i]), x); });
  } else if (p.add) {
    finish([](const float* out, int, vf x) { return load(out) + x; });
  } else {
    finish([](const float*, int, vf x) { return x; });
  }
}

template <int N>
inline void tile_of_rows(int rows, const Product& p, int64_t m, int64_t depth, const float* b, float* c) {
  switch (rows) {
    case 6:
      return tile<6, N>(p, m, depth, b, c);
    case 5:
      return tile<5, N>(p, m, depth, b, c);
    case 4:
      return tile<4, N>(p, m, depth, b, c);
    case 3:
      return tile<3, N>(p, m, depth, b, c);
    case 2:
      return tile<2, N>(p, m, depth, b, c);
    default:
      return tile<1, N>(p, m, depth, b, c);
  }
}

// Rows [m, m + rows) of one tile, `vectors` of them wide.
inline void run_tile(int rows, int vectors, const Product& p, int64_t m, int64_t depth, const float* b, float* c) {
  switch (vectors) {
#if defined(__AVX512F__)
    case 4:
      return tile_of_rows<4>(rows, p, m, depth, b, c);
    case 3:
      return tile_of_rows<3>(rows, p, m, depth, b, c);
#endif
    case 2:
      return tile_of_rows<2>(rows, p, m, depth, b, c);
    default:
      return tile_of_rows<1>(rows, p, m, depth, b, c);
  }
}

struct Range {
  int low, high;  // [low, high), empty when high <= low
};

// All `width` columns (a multiple of VW) of rows [0, M). `depth_of(m, rows)` is the range of k that counts for a tile of rows:
// what lies outside it is known to be zero.
template <class F>
inline void product(const Product& p, int M, int width, F&& depth_of) {
  for (int n = 0; n < width; n += kPanel) {
    const int vectors = (width - n < kPanel ? width - n : kPanel) / VW;
    for (int m = 0; m < M; m += kTileRows) {
      const int rows = M - m < kTileRows ? M - m : kTileRows;
      const Range k = depth_of(m, rows);
      if (k.high <= k.low) {
        if (!p.keep && !p.add)
          for (int i = 0; i < rows; ++i)
            for (int v = 0; v < vectors; ++v) store(p.c + (m + i) * p.c_m + n + v * VW, vf{});
        continue;
      }
      Product q = p;
      q.a += k.low * p.a_k;
      run_tile(rows, vectors, q, m, k.high - k.low, p.b + k.low * p.b_k + n, p.c + n);
    }
  }
}

}  // namespace
}  // namespace heddle::cpu::HEDDLE_ISA
