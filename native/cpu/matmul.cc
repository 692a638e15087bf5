// c[m][n] (+)= sum_k a(m,k) b(k,n), f32: packed panels and register tiles, after Goto & van de Geijn, "Anatomy of
// High-Performance Matrix Multiplication" (2008), and BLIS (Van Zee & van de Geijn, 2015).
//
// Bits: k is cut into blocks of kBlock, for every shape and instruction set. A block's sum is one chain of fma from 0 in
// order of k; c takes the blocks' sums in order: ((c + s0) + s1) + ..., starting with c when accumulating, with s0 otherwise.
// So an element depends on its row of a, its column of b and K: not on M, N, the threads or the width of the vectors.
//
// Assumes: outputs overlap no input. pre and residual hold one dense M x N matrix per product of the batch.
#include "cpu/kernels.h"
#include "cpu/matmul_decode.h"
#include "cpu/matmul_epilogue.h"
#include "cpu/matmul_pack.h"
#include "cpu/matmul_tile.h"

namespace heddle::cpu::HEDDLE_ISA {
namespace {

constexpr int64_t kBlock = 256;
// Cache blocks: a panel of A (14 KB) stays in L1 while the panels of a block of B (256 x 384, 384 KB) come from L2, which also
// holds the block of c (144 x 384) through all of k.
constexpr int64_t kBlockRows = 144 / kTileRows * kTileRows, kBlockCols = 384;
// What is packed at a time: at most kPackDepth of k, so that an item's rows of A stay in L2 (144 x 768, 490 KB), and at most
// kPackFloats of B (8 MB, in L3).
constexpr int64_t kPackDepth = 3 * kBlock, kPackFloats = int64_t{1} << 21;
constexpr int64_t kItemWork = int64_t{1} << 18;  // multiply-adds below which an item is not worth splitting (some 10 us)
constexpr int kItemsPerThread = 4;               // so that a thread that is held up can be helped out

// Scratch slots; the first belongs to the thread that calls matmul, the others to each thread that runs items.
enum Slot { kSharedB, kLocalA, kLocalB };

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }
int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

struct Range {
  int64_t low, high;
  int64_t size() const { return high - low; }
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

// A batch dimension along which b stays and the rows of a and c go on is more rows.
MatmulArgs flatten(MatmulArgs g) {
  for (int d = 1; d >= 0; --d) {
    if (g.batch[d] == 1) continue;
    if (g.b_batch[d] != 0 || g.a_batch[d] != g.M * g.a_m || g.c_batch[d] != g.M * g.c_m) break;
    g.M *= g.batch[d];
    g.batch[d] = 1;
  }
  return g;
}

// Vectors of B that a tile of so many columns reads.
int vectors(int64_t cols) { return cols > VW ? 2 : 1; }

void pack_b(const MatmulArgs& g, const Product& p, float* dst, Range cols, Range k, bool along_k) {
  pack<kTileCols, kTileCols>(dst, kTileCols * k.size(), p.b + cols.low * g.b_n + k.low * g.b_k, g.b_n, g.b_k, cols.size(), k.size(),
                             along_k);
}

void pack_a(const MatmulArgs& g, const Product& p, float* dst, Range rows, Range k, bool along_k) {
  pack<kPanelRows, kTileRows>(dst, kPanelRows * k.size(), p.a + rows.low * g.a_m + k.low * g.a_k, g.a_m, g.a_k, rows.size(), k.size(),
                              along_k);
}

// Floats of so many packed rows of A per step of k.
int64_t packed_rows(int64_t rows) { return ceil_div(rows, kTileRows) * kPanelRows; }

// One tile of c for one block of k: a is a packed panel, b a panel with the given step.
void tile(const MatmulArgs& g, const Product& p, int64_t m, int rows, int64_t n, int cols, Range k, const float* a, const float* b,
          int64_t b_step) {
  const int v = vectors(cols);
  const TileKernel kernel = (v == 1 ? kOneVector.kernel : kTwoVectors.kernel)[rows - 1];
  float* c = p.c + m * g.c_m + n;
  const bool add = g.accumulate || k.low > 0;
  if (cols == v * VW) {
    kernel(k.size(), a, b, b_step, c, g.c_m, add);
  } else {
    alignas(64) float edge[kTileRows * kTileCols];
    kernel(k.size(), a, b, b_step, edge, kTileCols, false);
    for (int i = 0; i < rows; ++i) {
      float* out = c + i * g.c_m;
      const float* sum = edge + i * kTileCols;
      for (int j = 0; j < cols; ++j) out[j] = add ? out[j] + sum[j] : sum[j];
    }
  }
  if (k.high == g.K && has_epilogue(g)) epilogue(g, p.c, p.pre, p.residual, m, rows, n, cols);
}

// The tiles of rows x cols for one block of k. a: these rows, packed. b_panel(m, n, columns, &step): where the panel of B at
// column n lies, asked for the tile at row m.
template <class F>
void block(const MatmulArgs& g, const Product& p, Range rows, Range cols, Range k, const float* a, const F& b_panel) {
  for (int64_t m = rows.low; m < rows.high; m += kTileRows, a += kPanelRows * k.size()) {
    const int height = static_cast<int>(smaller(kTileRows, rows.high - m));
    for (int64_t n = cols.low; n < cols.high; n += kTileCols) {
      const int width = static_cast<int>(smaller(kTileCols, cols.high - n));
      int64_t step = kTileCols;
      const float* b = b_panel(m, n, width, &step);
      tile(g, p, m, height, n, width, k, a, b, step);
    }
  }
}

// n in as few pieces of at most `most` as can be, evened out to multiples of `unit`: the size of a piece.
int64_t even_piece(int64_t n, int64_t most, int64_t unit) {
  if (n <= most) return n;
  return ceil_div(ceil_div(n, unit), ceil_div(n, most)) * unit;
}

// f(block of k) for the blocks within `depth`; one empty block when K is 0, so that c is still written.
template <class F>
void each_block(Range depth, const F& f) {
  int64_t k = depth.low;
  do {
    f(Range{k, smaller(k + kBlock, depth.high)});
    k += kBlock;
  } while (k < depth.high);
}

int64_t wanted_items() { return pool_threads() == 1 ? 1 : int64_t{kItemsPerThread} * pool_threads(); }

// An M x N piece of c, K deep, is cut into items: whole tiles, as even as can be, and enough of them for the threads.
struct Grid {
  int64_t rows, cols;  // of an item
  int64_t row_items, col_items;

  // `copies` such pieces are run at once; split_rows: an item may have fewer than M rows.
  Grid(int64_t M, int64_t N, int64_t K, int64_t copies, bool split_rows) {
    const int64_t row_tiles = ceil_div(M, kTileRows), col_tiles = ceil_div(N, kTileCols);
    int64_t high = split_rows ? smaller(row_tiles, kBlockRows / kTileRows) : row_tiles;
    int64_t wide = split_rows ? col_tiles : smaller(col_tiles, kBlockCols / kTileCols);
    const int64_t wanted = wanted_items();
    while (copies * ceil_div(row_tiles, high) * ceil_div(col_tiles, wide) < wanted &&
           high * kTileRows * wide * kTileCols * K >= 2 * kItemWork) {
      if (wide > 1 && (!split_rows || high == 1 || wide * kTileCols >= high * kTileRows)) {
        wide = (wide + 1) / 2;
      } else if (split_rows && high > 1) {
        high = (high + 1) / 2;
      } else {
        break;
      }
    }
    row_items = ceil_div(row_tiles, high);
    col_items = ceil_div(col_tiles, wide);
    rows = ceil_div(row_tiles, row_items) * kTileRows;
    cols = ceil_div(col_tiles, col_items) * kTileCols;
    row_items = ceil_div(M, rows);
    col_items = ceil_div(N, cols);
  }
};

// Many rows: B is packed once, by all threads, then read by all items; an item packs its own rows of A.
void run_shared(const MatmulArgs& g, const Product& p) {
  const int64_t max_depth = even_piece(g.K, kPackDepth, kBlock);
  const int64_t strip = g.b_n == 1 ? kBlockCols : kTileCols;  // packed by an item: long runs of memory, whichever way it lies
  const int64_t max_width = even_piece(g.N, kPackFloats / kPackDepth, kBlockCols);
  float* packed = pool_scratch(kSharedB, static_cast<size_t>(ceil_div(max_width, kTileCols) * kTileCols * max_depth));
  for (int64_t n = 0; n < g.N; n += max_width) {
    const Range cols{n, smaller(n + max_width, g.N)};
    const int64_t padded = ceil_div(cols.size(), kTileCols) * kTileCols;
    const Grid grid(g.M, cols.size(), max_depth, 1, true);
    int64_t start = 0;
    do {
      const Range depth{start, smaller(start + max_depth, g.K)};
      const auto panel = [&](Range k, int64_t column) { return packed + (k.low - depth.low) * padded + (column - cols.low) * k.size(); };
      parallel(ceil_div(cols.size(), strip), [&](int64_t item) {
        const int64_t low = cols.low + item * strip;
        each_block(depth, [&](Range k) { pack_b(g, p, panel(k, low), {low, smaller(low + strip, cols.high)}, k, true); });
      });
      parallel(grid.row_items * grid.col_items, [&](int64_t item) {
        const int64_t m = item % grid.row_items * grid.rows, left = cols.low + item / grid.row_items * grid.cols;
        const Range rows{m, smaller(m + grid.rows, g.M)}, item_cols{left, smaller(left + grid.cols, cols.high)};
        const int64_t height = packed_rows(rows.size());
        float* a = pool_scratch(kLocalA, static_cast<size_t>(height * depth.size()));
        const int64_t thin = g.a_m == 1 ? rows.size() : kTileRows;
        for (int64_t i = rows.low; i < rows.high; i += thin) {
          const Range part{i, smaller(i + thin, rows.high)};
          each_block(depth, [&](Range k) {
            pack_a(g, p, a + height * (k.low - depth.low) + packed_rows(i - rows.low) * k.size(), part, k, true);
          });
        }
        for (int64_t low = item_cols.low; low < item_cols.high; low += kBlockCols) {
          const Range block_cols{low, smaller(low + kBlockCols, item_cols.high)};
          each_block(depth, [&](Range k) {
            block(g, p, rows, block_cols, k, a + height * (k.low - depth.low),
                  [&](int64_t, int64_t column, int, int64_t*) { return panel(k, column); });
          });
        }
      });
      start += max_depth;
    } while (start < g.K);
  }
}

// Few rows, or many products: an item has all rows of one product, and packs the columns of B that only it needs.
void run_local(const MatmulArgs& g, int64_t products) {
  const Grid grid(g.M, g.N, g.K, products, false);
  const bool once = g.M <= kTileRows;                        // a panel of B is read once: packed into one place, it stays in L1
  const bool in_place = g.b_n == 1 && g.M <= 2 * kTileRows;  // once or twice: straight from B
  parallel(products * grid.col_items, [&](int64_t item) {
    const Product p = product(g, item / grid.col_items);
    const int64_t left = item % grid.col_items * grid.cols;
    const Range cols{left, smaller(left + grid.cols, g.N)};
    float* a = pool_scratch(kLocalA, static_cast<size_t>(packed_rows(smaller(g.M, kBlockRows)) * kBlock));
    float* packed = pool_scratch(kLocalB, static_cast<size_t>(kBlockCols * kBlock));
    each_block({0, g.K}, [&](Range k) {
      for (int64_t m = 0; m < g.M; m += kBlockRows) {
        const Range rows{m, smaller(m + kBlockRows, g.M)};
        pack_a(g, p, a, rows, k, false);
        block(g, p, rows, cols, k, a, [&](int64_t row, int64_t n, int width, int64_t* step) -> const float* {
          if (in_place && width % VW == 0) {
            *step = g.b_k;
            return p.b + k.low * g.b_k + n;
          }
          float* panel = once ? packed : packed + (n - cols.low) * k.size();
          if (row == 0) pack_b(g, p, panel, {n, n + width}, k, false);
          return panel;
        });
      }
    });
  });
}

void run_decode(const MatmulArgs& g, int64_t products) {
  constexpr int64_t grain = 32, least = int64_t{1} << 16;  // columns, floats of W
  const int64_t cols = ceil_div(g.N, wanted_items()), least_cols = least / g.K;
  const int64_t piece = ceil_div(cols > least_cols ? cols : least_cols, grain) * grain, pieces = ceil_div(g.N, piece);
  const Decode run = g.b_n == 1 ? decode_straight : kDecode.rows[g.M - 1];
  parallel(products * pieces, [&](int64_t item) {
    const Product p = product(g, item / pieces);
    const int64_t low = item % pieces * piece;
    run(g, kBlock, p.a, p.b, p.c, p.pre, p.residual, low, smaller(low + piece, g.N));
  });
}

}  // namespace

void matmul(const MatmulArgs& args) {
  const MatmulArgs g = flatten(args);
  const int64_t products = g.batch[0] * g.batch[1];
  if (g.M == 0 || g.N == 0 || products == 0) return;
  if (g.M <= kDecodeRows && g.K >= VW && (g.b_n == 1 || (g.a_k == 1 && g.b_k == 1))) {
    run_decode(g, products);
  } else if (g.M <= kBlockRows || (products > 1 && products >= wanted_items())) {
    run_local(g, products);
  } else {
    for (int64_t i = 0; i < products; ++i) run_shared(g, product(g, i));
  }
}

}  // namespace heddle::cpu::HEDDLE_ISA
