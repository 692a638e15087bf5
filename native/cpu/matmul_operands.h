#pragma once
// The operands of a matrix product as it packs them: columns of B and rows of A for some depth of k, in blocks of k, in panels.
#include "cpu/kernels.h"
#if defined(__AMX_BF16__)
#include "cpu/bf16/amx_tile.h"
#else
#include "cpu/matmul_tile.h"
#endif

namespace heddle::cpu::HEDDLE_ISA {
namespace {

constexpr int64_t kBlock = kMostDepth;
constexpr int64_t kBlockCols = 384;

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }
int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

struct Range {
  int64_t low, high;
  int64_t size() const { return high - low; }
  Range from(int64_t first) const { return {first + low, first + high}; }
};

// One product of the batch.
struct Product {
  const float *a, *b;
  float *c, *pre;
  const float* residual;
};

Product product(const MatmulArgs& g, int64_t index) {
  const int64_t i = index / g.batch[1], j = index % g.batch[1], dense = index * g.M * g.N;
  return {f32(g.a) + i * g.a_batch[0] + j * g.a_batch[1], f32(g.b) + i * g.b_batch[0] + j * g.b_batch[1],
          f32(g.c) + i * g.c_batch[0] + j * g.c_batch[1], g.pre ? f32(g.pre) + dense : nullptr,
          g.residual ? f32(g.residual) + dense : nullptr};
}

template <class Numbers>
void pack_b(const MatmulArgs& g, const Product& p, float* dst, Range cols, Range k, bool along_k) {
  pack<Numbers, kTileCols, kTileCols>(dst, kTileCols * Numbers::steps(k.size()), p.b + cols.low * g.b_n + k.low * g.b_k, g.b_n, g.b_k,
                                      cols.size(), k.size(), along_k);
}

template <class Numbers>
void pack_a(const MatmulArgs& g, const Product& p, float* dst, Range rows, Range k, bool along_k) {
  pack_rows<Numbers>(dst, p.a + rows.low * g.a_m + k.low * g.a_k, g.a_m, g.a_k, rows.size(), k.size(), along_k);
}

// Which of a tile's two panels stays in L1: that of B where it takes at most half of it (16 KB with AVX2), so that each step of k reads
// kTileRows numbers from L2; where it takes all (32 KB with AVX-512), that of A, and kTileCols come from L2.
constexpr bool kColumnsStay = kTileCols * kBlock * 4 <= 16 * 1024;

// Whether panels of B are read where they lie, in rows of whole vectors, which come from L2 as packed ones would. Rows that are multiples
// of 4 KB apart compete for the same places in the caches.
template <class Numbers>
bool reads_in_place(const MatmulArgs& g) {
  return Numbers::kDepth == 1 && !kColumnsStay && g.b_n == 1 && g.N % VW == 0 && g.b_k % 1024 != 0;
}

// Floats of so many packed rows of A per step of k.
int64_t packed_rows(int64_t rows) { return ceil_div(rows, kTileRows) * kPanelRows; }

// A panel of A, and what to fetch while it is in use.
struct RowPanel {
  const float* data;
  Ahead ahead;
};

// f(block of k) for the blocks within `depth`; one empty block when K is 0, so that c is still written.
template <class F>
void each_block(Range depth, const F& f) {
  int64_t k = depth.low;
  do {
    f(Range{k, smaller(k + kBlock, depth.high)});
    k += kBlock;
  } while (k < depth.high);
}

// Rows of A for some depth of k, packed: blocks of k one behind the other, in each the panels.
template <class Numbers>
struct PackedRows {
  float* data;
  Range rows, depth;

  size_t floats() const { return static_cast<size_t>(packed_rows(rows.size()) * Numbers::steps(depth.size())); }
  float* panel(int64_t m, Range k) const {
    return data + packed_rows(rows.size()) * Numbers::steps(k.low - depth.low) + packed_rows(m - rows.low) * Numbers::steps(k.size());
  }
  // Some rows from m on, in long runs of memory, whichever way it lies.
  void pack(const MatmulArgs& g, const Product& p, Range some) const {
    const int64_t thin = g.a_m == 1 ? some.size() : kTileRows;
    for (int64_t m = some.low; m < some.high; m += thin) {
      const Range part{m, smaller(m + thin, some.high)};
      each_block(depth, [&](Range k) { pack_a<Numbers>(g, p, panel(m, k), part, k, true); });
    }
  }
  // The panel at m, when it is needed for the first time. Where k is contiguous it is packed now, while the lines of the next one are on
  // their way; otherwise all rows are, at the first panel.
  RowPanel first_use(const MatmulArgs& g, const Product& p, int64_t m, Range k) const {
    float* to = panel(m, k);
    if (g.a_k != 1) {
      if (m == rows.low) pack_a<Numbers>(g, p, to, rows, k, true);
      return {to, {}};
    }
    pack_a<Numbers>(g, p, to, {m, smaller(m + kTileRows, rows.high)}, k, false);
    const bool last = m + kTileRows >= rows.high;
    if (last && k.high >= depth.high) return {to, {}};
    return {to, {last ? p.a + rows.low * g.a_m + k.high : p.a + (m + kTileRows) * g.a_m + k.low, g.a_m, 16}};
  }
};

// Columns of B for some depth of k: packed, blocks of k one behind the other, in each the panels; or read where they lie.
template <class Numbers>
struct Columns {
  const MatmulArgs& g;
  const Product& p;
  Range cols, depth;
  bool in_place;
  float* data = nullptr;

  Columns(const MatmulArgs& g, const Product& p, Range cols, Range depth)
      : g(g), p(p), cols(cols), depth(depth), in_place(reads_in_place<Numbers>(g)) {}

  // The panel at a column. step: from one k to the next.
  const float* panel(Range k, int64_t column, int64_t* step) const {
    if (!in_place) return packed(k, column);
    *step = g.b_k;
    return p.b + k.low * g.b_k + column;
  }
  // What is not read in place is packed into scratch memory: some columns, in long runs of memory, whichever way it lies.
  void take_scratch(int slot) {
    if (!in_place) data = pool_scratch(slot, static_cast<size_t>(padded() * Numbers::steps(depth.size())));
  }
  void pack(Range some) const {
    each_block(depth, [&](Range k) { pack_b<Numbers>(g, p, packed(k, some.low), some, k, true); });
  }
  // All of them, `strip` at a time.
  void pack() const {
    if (in_place) return;
    const int64_t strip = g.b_n == 1 ? kBlockCols : kTileCols;
    for (int64_t n = cols.low; n < cols.high; n += strip) pack({n, smaller(n + strip, cols.high)});
  }

 private:
  int64_t padded() const { return ceil_div(cols.size(), kTileCols) * kTileCols; }
  float* packed(Range k, int64_t column) const {
    return data + Numbers::steps(k.low - depth.low) * padded() + (column - cols.low) * Numbers::steps(k.size());
  }
};

}  // namespace
}  // namespace heddle::cpu::HEDDLE_ISA
