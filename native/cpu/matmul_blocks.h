#pragma once
// The matrix product in packed panels and register tiles, after Goto & van de Geijn, "Anatomy of High-Performance Matrix Multiplication"
// (2008), and BLIS (Van Zee & van de Geijn, 2015): how c is cut, what is packed when, who computes what. Of the operands' numbers it knows
// how much of k a step takes (matmul_numbers.h); what a tile of c is, and the rows of A that are packed for it, say matmul_tile.h and
// amx_tile.h.
#include <atomic>

#include "cpu/matmul_epilogue.h"
#include "cpu/matmul_operands.h"

namespace heddle::cpu::HEDDLE_ISA {
namespace {

// Cache blocks: of a tile's two panels one stays in L1 (kColumnsStay) while those of the other operand's block come from L2 (B: 256 x 384,
// 384 KB; A: 144 x 256), which also holds the block of c (144 x 384) through all of k.
constexpr int64_t kBlockRows = 144 / kTileRows * kTileRows;  // kBlockCols: matmul_operands.h
// What is packed at a time: at most kPackDepth of k, so that an item's rows of A stay in L2 (144 x 768, 490 KB), and at most
// kPackFloats of B (8 MB, in L3).
constexpr int64_t kPackDepth = 3 * kBlock, kPackFloats = int64_t{1} << 21;
constexpr int64_t kItemWork = int64_t{1} << 18;  // multiply-adds below which an item is not worth splitting (some 10 us)
constexpr int kItemsPerThread = 4;               // so that a thread that is held up can be helped out
constexpr int64_t kItemSide = 64;                // rows or columns below which an item is not worth cutting off

// Scratch slots; the shared ones belong to the thread that calls matmul, the others to each thread that runs items.
enum Slot { kSharedA, kSharedB, kLocalA, kLocalB };

// One tile of c for one block of k: a is a packed panel, b a panel with the given step.
template <class Numbers>
void tile(const MatmulArgs& g, const Product& p, int64_t m, int rows, int64_t n, int cols, Range k, const float* a, const float* b,
          int64_t b_step, Ahead ahead) {
  compute_tile<Numbers>(Numbers::steps(k.size()), a, b, b_step, p.c + m * g.c_m + n, g.c_m, rows, cols, g.accumulate || k.low > 0, ahead);
  if (k.high == g.K && has_epilogue(g)) epilogue(g, p.c, p.pre, p.residual, m, rows, n, cols);
}

// The tiles of rows x cols for one block of k. row_panel(m, first): the panel of A at row m, for its first tile or a later one.
// col_panel(m, n, columns, &step): where the panel of B at column n lies, asked for the tile at row m.
template <class Numbers, class A, class B>
void block(const MatmulArgs& g, const Product& p, Range rows, Range cols, Range k, const A& row_panel, const B& col_panel) {
  const auto one = [&](int64_t m, int64_t n) {
    const int height = static_cast<int>(smaller(kTileRows, rows.high - m)), width = static_cast<int>(smaller(kTileCols, cols.high - n));
    const RowPanel a = row_panel(m, n == cols.low);
    int64_t step = kTileCols;
    const float* b = col_panel(m, n, width, &step);
    tile<Numbers>(g, p, m, height, n, width, k, a.data, b, step, a.ahead);
  };
  if constexpr (kColumnsStay) {
    for (int64_t n = cols.low; n < cols.high; n += kTileCols)
      for (int64_t m = rows.low; m < rows.high; m += kTileRows) one(m, n);
  } else {
    for (int64_t m = rows.low; m < rows.high; m += kTileRows)
      for (int64_t n = cols.low; n < cols.high; n += kTileCols) one(m, n);
  }
}

// n in as few pieces of at most `most` as can be, evened out to multiples of `unit`: the size of a piece.
int64_t even_piece(int64_t n, int64_t most, int64_t unit) {
  if (n <= most) return n;
  return ceil_div(ceil_div(n, unit), ceil_div(n, most)) * unit;
}

int64_t wanted_items() { return pool_threads() == 1 ? 1 : int64_t{kItemsPerThread} * pool_threads(); }

// Part i of so many tiles shared out evenly, in elements, up to n.
Range part(int64_t i, int64_t parts, int64_t tiles, int64_t tile, int64_t n) {
  return {tiles * i / parts * tile, smaller(tiles * (i + 1) / parts * tile, n)};
}

// An M x N piece of c, K deep, is cut into items: whole tiles, as even as can be, and enough of them for the threads.
struct Grid {
  int64_t M, N, row_tiles, col_tiles;
  int64_t row_items, col_items;

  // `copies` such pieces are run at once; split_rows: an item may have fewer than M rows.
  Grid(int64_t M, int64_t N, int64_t K, int64_t copies, bool split_rows)
      : M(M), N(N), row_tiles(ceil_div(M, kTileRows)), col_tiles(ceil_div(N, kTileCols)) {
    int64_t high = split_rows ? smaller(row_tiles, kBlockRows / kTileRows) : row_tiles;
    int64_t wide = split_rows ? col_tiles : smaller(col_tiles, kBlockCols / kTileCols);
    const int64_t wanted = wanted_items();
    while (copies * ceil_div(row_tiles, high) * ceil_div(col_tiles, wide) < wanted &&
           high * kTileRows * wide * kTileCols * K >= 2 * kItemWork) {
      if (wide > 1 && (!split_rows || high == 1 || N >= 2 * M)) {
        wide = (wide + 1) / 2;
      } else if (split_rows && high > 1) {
        high = (high + 1) / 2;
      } else {
        break;
      }
    }
    row_items = ceil_div(row_tiles, high);
    col_items = ceil_div(col_tiles, wide);
    // As many for each thread: of 11 items two threads would take 6 and 5, and one of them wait.
    if (split_rows) row_items = smaller(ceil_div(row_items, pool_threads()) * pool_threads(), row_tiles);
  }
  int64_t items() const { return row_items * col_items; }
  Range rows(int64_t item) const { return part(item % row_items, row_items, row_tiles, kTileRows, M); }
  Range cols(int64_t item) const { return part(item / row_items, col_items, col_tiles, kTileCols, N); }
};

// Rows x cols of c, over the depth of `a`. fresh: `a` is of these rows, and yet to be packed, each panel when it is needed for the first
// time.
template <class Numbers>
void multiply(const MatmulArgs& g, const Product& p, const PackedRows<Numbers>& a, Range rows, Range cols, bool fresh,
              const Columns<Numbers>& b) {
  const TileRegisters registers;
  for (int64_t low = cols.low; low < cols.high; low += kBlockCols) {
    const bool pack = fresh && low == cols.low;
    each_block(a.depth, [&](Range k) {
      block<Numbers>(
          g, p, rows, {low, smaller(low + kBlockCols, cols.high)}, k,
          [&](int64_t m, bool first) { return pack && first ? a.first_use(g, p, m, k) : RowPanel{a.panel(m, k), {}}; },
          [&](int64_t, int64_t column, int, int64_t* step) { return b.panel(k, column, step); });
    });
  }
}

// f(columns, depth): pieces of B that are packed at a time, those of k for the same columns in their order.
template <class F>
void each_piece(const MatmulArgs& g, const F& f) {
  const int64_t deep = even_piece(g.K, kPackDepth, kBlock), wide = even_piece(g.N, kPackFloats / kPackDepth, kBlockCols);
  for (int64_t n = 0; n < g.N; n += wide) {
    int64_t k = 0;
    do {
      f(Range{n, smaller(n + wide, g.N)}, Range{k, smaller(k + deep, g.K)});
      k += deep;
    } while (k < g.K);
  }
}

// B is packed once, by all threads, where it is packed at all, then read by all items. So is A where several items read a row of it;
// otherwise an item packs its own rows, and has them in its L2.
template <class Numbers>
void run_shared(const MatmulArgs& g, const Product& p) {
  each_piece(g, [&](Range wide, Range depth) {
    Columns<Numbers> b(g, p, wide, depth);
    b.take_scratch(kSharedB);
    const Grid grid(g.M, wide.size(), depth.size(), 1, true);
    // Columns that an item packs: long runs of memory, whichever way it lies, and something to do for every thread.
    const int64_t fair = ceil_div(ceil_div(wide.size(), wanted_items()), kTileCols) * kTileCols;
    const int64_t strip = g.b_n == 1 ? smaller(fair, kBlockCols) : kTileCols;
    PackedRows<Numbers> shared{nullptr, {0, g.M}, depth};
    const int64_t a_strips = grid.col_items > 1 ? ceil_div(grid.row_tiles, 4) : 0, b_strips = b.in_place ? 0 : ceil_div(wide.size(), strip);
    if (a_strips) shared.data = pool_scratch(kSharedA, shared.floats());
    parallel(a_strips + b_strips, [&](int64_t item) {
      if (item < a_strips) return shared.pack(g, p, part(item, a_strips, grid.row_tiles, kTileRows, g.M));
      const int64_t low = wide.low + (item - a_strips) * strip;
      b.pack({low, smaller(low + strip, wide.high)});
    });
    parallel(grid.items(), [&](int64_t item) {
      PackedRows<Numbers> a = shared;
      if (!a_strips) {
        a.rows = grid.rows(item);
        a.data = pool_scratch(kLocalA, a.floats());
      }
      multiply(g, p, a, grid.rows(item), grid.cols(item).from(wide.low), !a_strips, b);
    });
  });
}

// A product that takes a few milliseconds is cut along its longer side, and each thread packs the other operand for itself: what several
// threads pack is packed more than once, but no thread waits for another or reads what lies in another's cache. Several items a thread,
// so that one that is held up can be helped out.
bool packs_for_itself(const MatmulArgs& g) {
  constexpr int64_t most_work = int64_t{1} << 28;  // multiply-adds of a thread
  const int64_t threads = pool_threads(), side = g.M > g.N ? g.M : g.N;
  return threads > 1 && g.M * g.N * g.K <= threads * most_work && side >= threads * kItemSide;
}

// Pieces so far, of all threads, and the one for which this thread has packed its operand.
std::atomic<uint64_t> pieces{0};
thread_local uint64_t packed_for = 0;

template <class Numbers>
void run_own(const MatmulArgs& g, const Product& p) {
  const int64_t threads = pool_threads();
  each_piece(g, [&](Range wide, Range depth) {
    const uint64_t piece = ++pieces;
    const bool cut_rows = g.M > g.N;
    // As even as rows can be: an item ends in a tile of fewer rows, which costs no more than those (kRowUnit).
    const int64_t unit = cut_rows ? kRowUnit : kTileCols, units = ceil_div(cut_rows ? g.M : wide.size(), unit);
    const int64_t items = threads * smaller(kItemsPerThread, ceil_div(units * unit, threads * kItemSide));
    parallel(items, [&](int64_t item) {
      const Range own = part(item, items, units, unit, cut_rows ? g.M : wide.size());
      PackedRows<Numbers> a{nullptr, cut_rows ? own : Range{0, g.M}, depth};
      Columns<Numbers> b(g, p, cut_rows ? wide : own.from(wide.low), depth);
      a.data = pool_scratch(kLocalA, a.floats());
      b.take_scratch(kLocalB);
      const bool first = packed_for != piece;
      if (!cut_rows || first) b.pack();
      if (!cut_rows && first) a.pack(g, p, a.rows);
      packed_for = piece;
      multiply(g, p, a, a.rows, b.cols, cut_rows, b);
    });
  });
}

// A few rows, or many products: an item has all rows of one product, and packs the columns of B that only it needs.
template <class Numbers>
void run_local(const MatmulArgs& g, int64_t products) {
  const Grid grid(g.M, g.N, g.K, products, false);
  const bool once = g.M <= kTileRows;  // a panel of B is read once: packed into one place, it stays in L1
  const bool in_place = Numbers::kDepth == 1 && g.b_n == 1 && g.M <= 2 * kTileRows;  // once or twice: straight from B
  parallel(products * grid.col_items, [&](int64_t item) {
    const TileRegisters registers;
    const Product p = product(g, item / grid.col_items);
    const Range cols = grid.cols(item % grid.col_items);
    float* a = pool_scratch(kLocalA, static_cast<size_t>(packed_rows(smaller(g.M, kBlockRows)) * Numbers::steps(kBlock)));
    float* packed = pool_scratch(kLocalB, static_cast<size_t>(kBlockCols * Numbers::steps(kBlock)));
    each_block({0, g.K}, [&](Range k) {
      for (int64_t m = 0; m < g.M; m += kBlockRows) {
        const Range rows{m, smaller(m + kBlockRows, g.M)};
        pack_a<Numbers>(g, p, a, rows, k, false);
        const auto row_panel = [&](int64_t row, bool) { return RowPanel{a + packed_rows(row - m) * Numbers::steps(k.size()), {}}; };
        block<Numbers>(g, p, rows, cols, k, row_panel, [&](int64_t row, int64_t n, int width, int64_t* step) -> const float* {
          if (in_place && width % VW == 0) {
            *step = g.b_k;
            return p.b + k.low * g.b_k + n;
          }
          float* panel = once ? packed : packed + (n - cols.low) * Numbers::steps(k.size());
          if (row == 0) pack_b<Numbers>(g, p, panel, {n, n + width}, k, false);
          return panel;
        });
      }
    });
  });
}

// All of a product that is no matter of a few rows alone.
template <class Numbers>
void run_blocks(const MatmulArgs& g) {
  const int64_t products = g.batch[0] * g.batch[1];
  if (g.M <= 2 * kTileRows || (products > 1 && products >= wanted_items())) {
    run_local<Numbers>(g, products);
  } else {
    for (int64_t i = 0; i < products; ++i) packs_for_itself(g) ? run_own<Numbers>(g, product(g, i)) : run_shared<Numbers>(g, product(g, i));
  }
}

}  // namespace
}  // namespace heddle::cpu::HEDDLE_ISA
