#pragma once
// What a matmul kernel is told, and which piece of it a block computes.
#include <cstdint>

#include "common/activation.cuh"
#include "common/types.cuh"
#include "ops/backend.h"

namespace heddle::cuda {

struct MatmulProblem {
  const void *a, *b;
  int64_t M, N;
  int64_t k_first, k_last;  // what this launch sums over
  int64_t lda, ldb;         // the stride of each that is not 1
  int64_t a_batch[2], b_batch[2], c_batch[2];
  uint32_t batch1, tiles_m, tiles_n, products, chunks;  // products, chunks: of this launch
  int64_t chunk_k, first_product;
  int stages;

  void *c, *pre;
  const float *a_scale, *b_scale;  // what the sum is multiplied by, or null
  const void *bias, *residual;     // residual: with `derivative` what the activation's derivative is taken at
  uint32_t* turns;                 // turns.cuh; null: blocks wait for nobody
  uint32_t pieces;                 // of a unit's tile
  int64_t c_m;
  Activation activation;
  bool accumulate, derivative, c_f32, vector_stores, box_stores;
};

// A unit of work is a tile of c and a chunk of K. They walk down 8 tiles of M before the next tile of N, so that what they read of both
// stays in L2.
struct MatmulBlock {
  int64_t m, n, k_first, k_last;
  uint32_t chunk, place;     // place: of its first piece among the turns
  int64_t product, a, b, c;  // offsets of this product's matrices

  __device__ MatmulBlock(const MatmulProblem& p, uint32_t unit, int tile_m, int tile_n) {
    constexpr uint32_t kGroup = 8;
    const uint32_t tiles = p.tiles_m * p.tiles_n, tile = unit % tiles, rest = unit / tiles;
    const uint32_t group = tile / (kGroup * p.tiles_n), within = tile % (kGroup * p.tiles_n);
    const uint32_t rows = min(kGroup, p.tiles_m - group * kGroup);
    m = static_cast<int64_t>(group * kGroup + within % rows) * tile_m;
    n = static_cast<int64_t>(within / rows) * tile_n;
    place = unit % (tiles * p.products) * p.pieces;
    chunk = rest / p.products;
    k_first = p.k_first + chunk * p.chunk_k;
    k_last = min(p.k_last, k_first + p.chunk_k);
    product = p.first_product + rest % p.products;
    const int64_t i = product / p.batch1, j = product % p.batch1;
    a = i * p.a_batch[0] + j * p.a_batch[1];
    b = i * p.b_batch[0] + j * p.b_batch[1];
    c = i * p.c_batch[0] + j * p.c_batch[1];
  }
};

// Of the columns of a row that a lane has the i-th: fours, Gap apart. With 4 they are neighbours.
template <int Gap>
__host__ __device__ constexpr int column_of(int i) {
  return i / 4 * Gap + i % 4;
}
// As many of them at a time.
template <int Gap, int W, class T>
constexpr int kRowPart = Gap == 4 && W > 4 ? kVector<T> : 4;

// Those of W columns that are less than `count`. vector: all are, and a part starts at a multiple of its bytes.
template <int Gap, int W, class T>
__device__ inline void load_row(const T* p, int count, bool vector, float (&v)[W]) {
  constexpr int kPart = kRowPart<Gap, W, T>;
  if (vector) {
#pragma unroll
    for (int i = 0; i < W; i += kPart) {
      const auto part = load_vector<T, kPart>(p + column_of<Gap>(i));
#pragma unroll
      for (int j = 0; j < kPart; ++j) v[i + j] = to_float(part.x[j]);
    }
  } else {
#pragma unroll
    for (int i = 0; i < W; ++i) v[i] = column_of<Gap>(i) < count ? to_float(p[column_of<Gap>(i)]) : 0.0f;
  }
}

template <int Gap, int W, class T>
__device__ inline void store_row(T* p, int count, bool vector, const float (&v)[W]) {
  constexpr int kPart = kRowPart<Gap, W, T>;
  if (vector) {
#pragma unroll
    for (int i = 0; i < W; i += kPart) {
      Vector<T, kPart> part;
#pragma unroll
      for (int j = 0; j < kPart; ++j) part.x[j] = from_float<T>(v[i + j]);
      store_vector<T, kPart>(p + column_of<Gap>(i), part);
    }
  } else {
#pragma unroll
    for (int i = 0; i < W; ++i)
      if (column_of<Gap>(i) < count) p[column_of<Gap>(i)] = from_float<T>(v[i]);
  }
}

// The first of the epilogue, of codes.
template <int W>
__device__ inline void scale_sums(const MatmulProblem& p, float (&v)[W]) {
  const float scale = *p.a_scale * *p.b_scale;
#pragma unroll
  for (int i = 0; i < W; ++i) v[i] = v[i] * scale;
}

// The last of the epilogue: v + x, or v activation'(x).
template <int W>
__device__ inline void add_or_multiply(const MatmulProblem& p, float (&v)[W], const float (&x)[W]) {
  if (p.derivative) return multiply_by_derivative(p.activation, v, x);
#pragma unroll
  for (int i = 0; i < W; ++i) v[i] = v[i] + x[i];
}

// W columns of row m from n on, fours of them Gap apart, summed: the epilogue, then c, of type C. T is the type of bias, pre and residual.
template <class T, class C, int Gap = 4, int W>
__device__ inline void finish_row(const MatmulProblem& p, const MatmulBlock& at, int64_t m, int64_t n, float (&v)[W]) {
  if (m >= p.M || n >= p.N) return;
  constexpr int kSpan = column_of<Gap>(W - 1) + 1;
  const int count = static_cast<int>(min(static_cast<int64_t>(kSpan), p.N - n));
  const bool vector = p.vector_stores && (Gap == 4 || count == kSpan);  // N is a multiple of 8 then
  float other[W];
  if (p.a_scale) scale_sums(p, v);
  C* const c = static_cast<C*>(p.c) + at.c + m * p.c_m + n;
  const auto dense = [&] { return (at.product * p.M + m) * p.N + n; };
  if (p.accumulate || at.chunk > 0) {
    load_row<Gap>(c, count, vector, other);
#pragma unroll
    for (int i = 0; i < W; ++i) v[i] = other[i] + v[i];
  }
  if (p.bias) {
    load_row<Gap>(static_cast<const T*>(p.bias) + n, count, vector, other);
#pragma unroll
    for (int i = 0; i < W; ++i) v[i] = v[i] + other[i];
  }
  if (p.pre) store_row<Gap>(static_cast<T*>(p.pre) + dense(), count, vector, v);
  if (!p.derivative) activate(p.activation, v);
  if (p.residual) {
    load_row<Gap>(static_cast<const T*>(p.residual) + dense(), count, vector, other);
    add_or_multiply(p, v, other);
  }
  store_row<Gap>(c, count, vector, v);
}

}  // namespace heddle::cuda
