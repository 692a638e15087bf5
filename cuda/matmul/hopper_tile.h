#pragma once
// Which tile Hopper's kernel takes for a product: the one whose blocks, by what a tile costs on the card, are done first. Pure functions.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>

namespace heddle::cuda {

struct HopperTile {
  int m, n;
};
// Two warpgroups multiply 64 rows each; where those are all, they halve the columns.
constexpr HopperTile kHopperTiles[] = {{128, 256}, {128, 128}, {128, 64}, {64, 128}};
constexpr int kHopperTileCount = 4;
// fp8 takes those from here on: beside its sums a thread holds those of a stage, for which the first tile leaves no registers.
constexpr int kFirstFP8Tile = 1, kFP8TileCount = kHopperTileCount - kFirstFP8Tile;

// What a tile takes on one multiprocessor, in one unit of time: 128 bytes of k, and all around the sum (start, epilogue).
struct TileCost {
  double step, rest;
};
struct HopperTuning {
  const char* card;  // its name, as the driver has it
  TileCost tiles[kHopperTileCount];
};

// For cards that nobody has measured, in cycles. A step: the tensor cores' 2048 multiply-adds a cycle, or the 128 bytes a cycle of
// shared memory, into which operands are copied once and out of which each warpgroup reads its half of a and b. The rest: about what
// the static report (docs/performance.md) makes of what is outside of the main loop where a result is f32 and added to; of 16 bits it is
// less than half. A model, not measured.
constexpr HopperTuning kModelledCard = {"", {{1024, 4000}, {640, 2500}, {448, 1750}, {448, 1750}}};

constexpr HopperTuning kTunedCards[] = {
#include "matmul/hopper_tuning.inc"
    kModelledCard,
};

// By the name of the card; the last one of `cards` serves all others.
template <size_t Count>
const HopperTuning& tuning_of(const char* card, const HopperTuning (&cards)[Count]) {
  for (const HopperTuning& t : cards)
    if (std::strcmp(t.card, card) == 0) return t;
  return cards[Count - 1];
}

// c of M x N, `sums` of them (products, chunks of K), each over `steps` times 128 bytes of k. Blocks take turns on the multiprocessors;
// equal times: the first tile of the list. `first`: the tiles from there on. Results have the same bits with every tile.
inline int hopper_tile_of(int64_t M, int64_t N, int64_t sums, int64_t steps, int multiprocessors, const HopperTuning& tuning,
                          int first = 0) {
  int best = first;
  double least = 0;
  for (int i = first; i < kHopperTileCount; ++i) {
    const HopperTile t = kHopperTiles[i];
    const int64_t across = (N + t.n - 1) / t.n, down = (M + t.m - 1) / t.m;
    const int64_t blocks = (down > 1 ? down + down % 2 : 1) * across * sums;  // in clusters of two below each other
    const double time = static_cast<double>((blocks + multiprocessors - 1) / multiprocessors) *
                        (static_cast<double>(steps) * tuning.tiles[i].step + tuning.tiles[i].rest);
    if (i == first || time < least) best = i, least = time;
  }
  return best;
}

// HEDDLE_MATMUL_TILE=128x64 takes one tile always, for measuring; -1: none is forced. An unknown one forces none.
inline int forced_hopper_tile(const char* text) {
  for (int i = 0; text && i < kHopperTileCount; ++i) {
    char* end = nullptr;
    if (std::strtol(text, &end, 10) == kHopperTiles[i].m && *end == 'x' && std::strtol(end + 1, &end, 10) == kHopperTiles[i].n && !*end)
      return i;
  }
  return -1;
}

}  // namespace heddle::cuda
