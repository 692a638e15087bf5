#pragma once
// The register tile of the matrix product: c[R][V*VW] from R rows of a packed A panel and V vectors per step of a B panel.
//
// Every element of the tile is one chain of fma over k, from 0, in order of k. Nothing here or in the callers regroups that
// chain, so its bits depend neither on the tile the element falls into nor on the width of the vectors. k counts steps (matmul_numbers.h).
#include "cpu/matmul_pack.h"

namespace heddle::cpu::HEDDLE_ISA {
namespace {

// Accumulators + one vector per column step + one broadcast fill the register file: 28 + 2 + 1 of 32, 12 + 2 + 1 of 16.
#if defined(__AVX512F__)
constexpr int kTileRows = 14, kTileVectors = 2;
#elif defined(__AVX2__)
constexpr int kTileRows = 6, kTileVectors = 2;
#elif defined(__ARM_NEON)
constexpr int kTileRows = 8, kTileVectors = 2;
#else
constexpr int kTileRows = 4, kTileVectors = 2;
#endif
constexpr int kTileCols = kTileVectors * VW;
constexpr int kRowUnit = 1;    // a tile of fewer rows costs in proportion
constexpr int64_t kAhead = 8;  // steps of k by which B is fetched ahead: it streams from L2 while the A panel stays in L1
constexpr int kPanelRows = (kTileRows + 3) / 4 * 4;  // rows of a packed A panel: [k][kPanelRows], a multiple of the packing's quads

// Memory that is packed next: fetched into L2, a line per step of k, while the tile is computed. Step s fetches
// at + s / 16 * chunk + s % 16 * step.
struct Ahead {
  const float* at = nullptr;
  int64_t chunk = 0, step = 0;
};

// b advances by b_step from one k to the next: kTileCols for a packed panel, or the row stride of B itself.
template <class Numbers, int R, int V>
void tile_kernel(int64_t k, const float* a, const float* b, int64_t b_step, float* c, int64_t c_step, bool add, Ahead ahead) {
  vf sum[R][V];
#pragma GCC unroll 16
  for (int i = 0; i < R; ++i) {
#pragma GCC unroll 4
    for (int j = 0; j < V; ++j) sum[i][j] = vf{};
  }
  // Inline whatever the compiler thinks of the file's growth: outside, the sums would be in memory.
  const auto step = [&]() __attribute__((always_inline)) {
    vf right[V];
#pragma GCC unroll 4
    for (int j = 0; j < V; ++j) right[j] = load(b + j * VW);
#pragma GCC unroll 4
    for (int j = 0; j < V * VW; j += 16) __builtin_prefetch(b + kAhead * b_step + j);
#pragma GCC unroll 16
    for (int i = 0; i < R; ++i) {
      const vf left = splat(a[i]);
#pragma GCC unroll 4
      for (int j = 0; j < V; ++j) sum[i][j] = Numbers::multiply_add(left, right[j], sum[i][j]);
    }
    a += kPanelRows;
    b += b_step;
  };
  int64_t p = 0;
  for (const float* row = c; p < k && p < R; ++p, row += c_step) {  // c is fetched on the side, a row per step
    __builtin_prefetch(row, 1);
    __builtin_prefetch(row + V * VW - 1, 1);
    step();
  }
  if (ahead.at) {
    for (; p + 16 <= k; ahead.at += ahead.chunk) {
      const float* line = ahead.at;
      for (const int64_t end = p + 16; p < end; ++p, line += ahead.step) {
        __builtin_prefetch(line, 0, 2);
        step();
      }
    }
  }
  for (; p < k; ++p) step();
#pragma GCC unroll 16
  for (int i = 0; i < R; ++i) {
#pragma GCC unroll 4
    for (int j = 0; j < V; ++j) {
      float* out = c + i * c_step + j * VW;
      store(out, add ? load(out) + sum[i][j] : sum[i][j]);
    }
  }
}

using TileKernel = void (*)(int64_t k, const float* a, const float* b, int64_t b_step, float* c, int64_t c_step, bool add, Ahead ahead);

// A kernel for every number of rows, so that the last rows of a matrix cost no more than they are.
template <class Numbers, int V, int R = kTileRows>
struct TileTable : TileTable<Numbers, V, R - 1> {
  constexpr TileTable() { this->kernel[R - 1] = tile_kernel<Numbers, R, V>; }
};
template <class Numbers, int V>
struct TileTable<Numbers, V, 0> {
  TileKernel kernel[kTileRows] = {};
};
template <class Numbers, int V>
constexpr TileTable<Numbers, V> kTiles;
static_assert(kTileVectors == 2);

// Rows x cols of c, at most a tile.
template <class Numbers>
void compute_tile(int64_t steps, const float* a, const float* b, int64_t b_step, float* c, int64_t c_step, int rows, int cols, bool add,
                  Ahead ahead) {
  const int v = cols > VW ? 2 : 1;
  const TileKernel kernel = (v == 1 ? kTiles<Numbers, 1>.kernel : kTiles<Numbers, 2>.kernel)[rows - 1];
  if (cols == v * VW) return kernel(steps, a, b, b_step, c, c_step, add, ahead);
  alignas(64) float edge[kTileRows * kTileCols];
  kernel(steps, a, b, b_step, edge, kTileCols, false, ahead);
  for (int i = 0; i < rows; ++i) {
    float* out = c + i * c_step;
    const float* sum = edge + i * kTileCols;
    for (int j = 0; j < cols; ++j) out[j] = add ? out[j] + sum[j] : sum[j];
  }
}

// Panels of A: element (i, p) of k is src[i * row_step + p * k_step].
template <class Numbers>
void pack_rows(float* dst, const float* src, int64_t row_step, int64_t k_step, int64_t rows, int64_t k, bool along_k) {
  pack<Numbers, kPanelRows, kTileRows>(dst, kPanelRows * Numbers::steps(k), src, row_step, k_step, rows, k, along_k);
}

// What a thread holds while it computes tiles: here nothing that needs care.
struct TileRegisters {
  TileRegisters() {}
};

}  // namespace
}  // namespace heddle::cpu::HEDDLE_ISA
