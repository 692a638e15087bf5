#pragma once
// How a product is computed: path, tile, stages, blocks, chunks of K. Pure functions of the arguments and the card.
//
// Bits. An element of c is the sum of its chunks of K in order; a chunk's sum is one chain from 0 in order of k. All tiles of a
// path share that chain, so tile, stages and loads may depend on anything. Only the chunks change bits, and they depend on K and on
// whether this is a sum over rows (below), never on M, N, or the card. Whether wgmma (Hopper) or mma.sync computes goes by types and
// strides, never by M, N or K either: their chains have the same order, but nobody promises that one rounds inside of a step as the other.
//
// Sums over rows: a weight's gradient dW = dY^T X has few tiles and a K of all tokens of a batch. It is known by its A, whose unit
// stride runs along m, and by its f32 result without epilogue. Its K is cut into chunks, which are computed side by side and added to
// c in order (turns.cuh), or, where the caller has no workspace, one launch after another. The bits are the same. How many: few enough that
// what is around a chunk's sum is little of it, and a number by which the waves of blocks are full on cards of very different size; 12 is
// what the static report (docs/performance.md) finds for GPT-2's weights on 108 and 132 multiprocessors. A model, not measured.
#include <cstdint>

#include "matmul/hopper_tile.h"
#include "ops/backend.h"
#include "runtime/card.h"

namespace heddle::cuda {

enum class MatmulPath : int32_t { fma, bf16, f16, tf32 };

struct MatmulPlan {
  MatmulPath path;
  bool a_k_major, b_k_major;  // the unit stride runs along k
  int64_t lda, ldb;           // the other stride, 0 where it has nowhere to lead
  bool vector_loads;          // 16 bytes of a and of b at a time; otherwise element by element
  bool vector_stores;         // of c and whatever the epilogue reads
  bool hopper;                // the kernel of hopper.cuh instead of mma.cuh
  bool box_stores;            // there: c, pre and residual pass through the copy engine
  int hopper_tile;            // there: which of kHopperTiles
  int tile_m, tile_n;         // a block's piece of c
  int cluster;                // blocks below each other that share tiles of b
  int pieces;                 // of a cluster's tile, finished independently
  int threads, stages;
  size_t shared;                       // bytes of dynamic shared memory
  int64_t tiles_m, tiles_n, products;  // tiles_m: of tile_m * cluster rows
  int64_t chunks, chunk_k;
  size_t workspace;  // bytes of turns.cuh's counters
};

constexpr int kLargeTile = 128, kSmallTile = 64;
constexpr int kHopperPieces = 8;  // of a tile: those of the warps, each of which finishes its own
constexpr int kTileKBytes = 64;   // depth of a tile on the tensor cores: 32 elements of 16 bits, 16 of f32

// A batch dimension along which b stays and the rows of a and c go on is more rows.
inline MatmulArgs flatten(MatmulArgs g) {
  for (int d = 1; d >= 0; --d) {
    if (g.batch[d] == 1) continue;
    if (g.b_batch[d] != 0 || g.a_batch[d] != g.M * g.a_m || g.c_batch[d] != g.M * g.c_m) break;
    g.M *= g.batch[d];
    g.batch[d] = 1;
  }
  return g;
}

namespace matmul_config {

inline int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }
inline bool multiple(const void* p, size_t bytes) { return reinterpret_cast<uintptr_t>(p) % bytes == 0; }

// Every row of a strided batch of matrices starts at a multiple of 16 bytes.
inline bool rows_aligned(const void* base, size_t element, int64_t leading, const int64_t (&batch)[2], const int64_t (&stride)[2]) {
  const int64_t unit = static_cast<int64_t>(16 / element);
  bool aligned = multiple(base, 16) && leading % unit == 0;
  for (int d = 0; d < 2; ++d) aligned &= batch[d] <= 1 || stride[d] % unit == 0;
  return aligned;
}

inline MatmulPath path_of(const MatmulArgs& g, const Card& card) {
  if (g.type == DType::bf16) return MatmulPath::bf16;
  if (g.type == DType::f16) return MatmulPath::f16;
  return g.precision == Precision::tf32 && card.sm >= 80 ? MatmulPath::tf32 : MatmulPath::fma;
}

// Hopper's copy engine: rows at multiples of 16 bytes that are not all the same one, and coordinates of 32 bits. Strides are asked for
// also where there is one row, so that the number of rows does not decide.
inline bool boxes_fit(const MatmulArgs& g, const MatmulPlan& p) {
  constexpr int64_t kMost = int64_t{1} << 31;
  const int64_t a_leading = p.a_k_major ? g.a_m : g.a_k, b_leading = p.b_k_major ? g.b_n : g.b_k;
  const bool leads = a_leading > 0 && a_leading % 8 == 0 && b_leading > 0 && b_leading % 8 == 0;
  return leads && p.vector_loads && g.M < kMost && g.N < kMost && g.K < kMost && g.batch[0] < kMost && g.batch[1] < kMost;
}

inline int64_t chunks_of(const MatmulArgs& g, bool a_k_major) {
  const bool plain = !g.bias && !g.pre && !g.residual && g.activation == Activation::none;
  if (a_k_major || g.c_type != DType::f32 || !plain) return 1;
  return g.K >= 32768 ? 12 : g.K >= 16384 ? 8 : g.K >= 8192 ? 4 : g.K >= 4096 ? 2 : 1;
}

// pieces: of a tile, each with turns of its own.
inline void set_tiles(const MatmulArgs& g, int tile_m, int tile_n, int cluster, int pieces, MatmulPlan* p) {
  p->tile_m = tile_m;
  p->tile_n = tile_n;
  p->cluster = cluster;
  p->pieces = cluster * pieces;
  p->tiles_m = ceil_div(g.M, tile_m * p->cluster);
  p->tiles_n = ceil_div(g.N, tile_n);
  if (p->chunks > 1) p->workspace = static_cast<size_t>(1 + p->tiles_m * p->tiles_n * p->products * p->pieces) * sizeof(uint32_t);
}

// depth: of a stage, 128 bytes of k; first: the tiles from there on.
inline void plan_hopper(const MatmulArgs& g, const Card& card, int depth, int first, MatmulPlan* p) {
  static const int forced = forced_hopper_tile(std::getenv("HEDDLE_MATMUL_TILE"));
  const HopperTuning& tuning = tuning_of(card.name.c_str(), kTunedCards);
  const int64_t steps = ceil_div(p->chunk_k, depth);
  const int tile = forced >= first ? forced : hopper_tile_of(g.M, g.N, p->products * p->chunks, steps, card.multiprocessors, tuning, first);
  const auto [m, n] = kHopperTiles[tile];
  p->hopper_tile = tile;
  set_tiles(g, m, n, g.M > m ? 2 : 1, kHopperPieces, p);
  p->box_stores = p->vector_stores && g.c_type == g.type && !g.accumulate && !(g.pre && g.residual);
  p->threads = 384;
}

// Results and whatever the epilogue reads, 16 bytes at a time.
inline bool stores_fit(const MatmulArgs& g) {
  return g.N % 8 == 0 && rows_aligned(g.c, size_of(g.c_type), g.M > 1 ? g.c_m : 0, g.batch, g.c_batch) && multiple(g.bias, 16) &&
         multiple(g.pre, 16) && multiple(g.residual, 16) && multiple(g.derivative_at, 16);
}

}  // namespace matmul_config

// g: flattened.
inline MatmulPlan plan_matmul(const MatmulArgs& g, const Card& card) {
  using namespace matmul_config;
  MatmulPlan p{};
  p.path = path_of(g, card);
  p.a_k_major = g.a_k == 1;
  p.b_k_major = g.b_k == 1 && g.b_n != 1;
  if (g.b_k == 1 && g.b_n == 1) p.b_k_major = g.N == 1;  // whichever dimension has a length
  const size_t element = size_of(g.type);
  p.lda = p.a_k_major ? (g.M > 1 ? g.a_m : 0) : (g.K > 1 ? g.a_k : 0);
  p.ldb = p.b_k_major ? (g.N > 1 ? g.b_n : 0) : (g.K > 1 ? g.b_k : 0);
  p.vector_loads = p.path != MatmulPath::fma && rows_aligned(g.a, element, p.lda, g.batch, g.a_batch) &&
                   rows_aligned(g.b, element, p.ldb, g.batch, g.b_batch);
  p.vector_stores = stores_fit(g);
  p.products = g.batch[0] * g.batch[1];

  p.chunks = chunks_of(g, p.a_k_major);
  p.chunk_k = p.chunks == 1 ? g.K : ceil_div(ceil_div(g.K, p.chunks), 64) * 64;
  p.hopper = card.hopper && element == 2 && boxes_fit(g, p);
  if (p.hopper) {
    plan_hopper(g, card, 64, 0, &p);
    return p;
  }
  const int64_t large = ceil_div(g.M, kLargeTile) * ceil_div(g.N, kLargeTile) * p.products;
  // Of 16 bits, a large tile alone on a multiprocessor takes less time than four small ones (the static report; a model, not measured).
  const int64_t least = element == 2 ? 3 * card.multiprocessors / 4 + 1 : card.multiprocessors;
  const bool fills = large * p.chunks >= least && g.M > kSmallTile && g.N > kSmallTile;
  const int tile = fills && (p.vector_loads || p.path == MatmulPath::fma) ? kLargeTile : kSmallTile;
  set_tiles(g, tile, tile, 1, 1, &p);
  if (p.path == MatmulPath::fma) {
    p.threads = 256;
    p.stages = 2;
    return p;
  }
  const size_t stage = static_cast<size_t>(2 * tile * kTileKBytes);
  p.threads = 128;
  p.stages = 2;
  if (p.vector_loads && card.sm >= 80) p.stages = card.shared_per_multiprocessor >= 2 * (4 * stage + 1024) ? 4 : 3;
  p.shared = stage * static_cast<size_t>(p.stages);
  return p;
}

// Of codes: Hopper's kernel, where the results have 16 bits and rows of codes are whole 16 bytes. Without it (`hopper` false) both operands
// are taken out into the type of the results, in which they are exact, and multiplied as such: nothing else is planned.
inline MatmulPlan plan_fp8_matmul(const FP8MatmulArgs& g, const Card& card) {
  using namespace matmul_config;
  constexpr int64_t kMost = int64_t{1} << 31;
  MatmulPlan p{};
  p.path = path_of(g, card);
  p.a_k_major = p.b_k_major = true;
  p.lda = p.ldb = g.K;
  p.vector_loads = g.K % 16 == 0 && multiple(g.a, 16) && multiple(g.b, 16);
  p.vector_stores = stores_fit(g);
  p.products = p.chunks = 1;
  p.chunk_k = g.K;
  p.hopper = card.hopper && size_of(g.type) == 2 && p.vector_loads && g.M < kMost && g.N < kMost && g.K < kMost;
  if (p.hopper) plan_hopper(g, card, 128, kFirstFP8Tile, &p);
  return p;
}
// Of an operand that is taken out; the other one follows it.
inline int64_t fp8_operand_bytes(int64_t elements, DType type) {
  return matmul_config::ceil_div(elements * static_cast<int64_t>(size_of(type)), 16) * 16;
}

}  // namespace heddle::cuda
