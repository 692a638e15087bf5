#pragma once
// A tile of c, 32 x 32, on Intel AMX: what matmul_tile.h is for vectors. The instructions are those of Intel's Software Developer's Manual,
// volumes 1 (programming with AMX) and 2. What is said of speed is computed from its Optimization Reference Manual: no processor with AMX
// was at hand to measure it on.
//
// Eight tile registers of 16 rows of 64 bytes: four sums of 16 x 16, two pieces of A (16 rows, 32 of k) and two of B (32 of k as 16 rows of
// pairs, 16 columns), the layout that panels of pairs have already. TDPBF16PS takes 16 cycles for 16,384 operations, its result 52; a load
// of 1 KB takes 8 cycles from L1. So 32 of k are four products on sums of their own, 64 cycles, beside four loads, 32 cycles, and the
// prefetches of B's next 2 KB, 16: the products bind, as long as A's panel (16 KB for 256 of k) stays in L1 and B's come from L2, at 32
// bytes a cycle. 256 of k are 512 cycles; in them the tile of c is loaded and stored once, which takes 96 where it does not overlap.
//
// The sum of an element, of any tile: 32 of k at a time, two chains of fma from 0 in order of k, of the even and the odd ones; their sum is
// added to what is there, c or 0. Subnormal numbers are zero, also in c. k ends in zeros, which change nothing.
//
// The compiler knows nothing of tile registers: no code of its own uses them, and the instructions stand here as text, with their order.
#include "cpu/matmul_pack.h"

namespace heddle::cpu::HEDDLE_ISA {
namespace {

constexpr int kSide = 16;  // rows of a tile register; floats, or pairs, of one of its rows
constexpr int kTileRows = 2 * kSide, kTileCols = 2 * kSide, kPanelRows = kTileRows;
constexpr int kRowUnit = kSide;           // a tile of fewer rows costs as many as its registers have
constexpr int kRegister = kSide * kSide;  // floats or pairs

// As in matmul_tile.h: step s of pairs fetches at + s / 16 * chunk + s % 16 * step.
struct Ahead {
  const float* at = nullptr;
  int64_t chunk = 0, step = 0;
};

struct TileConfig {  // of LDTILECFG
  uint8_t palette = 1, start_row = 0, reserved[14] = {};
  uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};
static_assert(sizeof(TileConfig) == 64);
alignas(64) constexpr TileConfig kTileConfig;

// The tile registers of the calling thread. What holds them is 8 KB more for the system to save at every switch of threads, so they are
// given back.
struct TileRegisters {
  TileRegisters() { asm volatile("ldtilecfg %0" ::"m"(kTileConfig)); }
  ~TileRegisters() { asm volatile("tilerelease"); }
  TileRegisters(const TileRegisters&) = delete;
  TileRegisters& operator=(const TileRegisters&) = delete;
};

template <int T>
inline void tile_zero() {
  asm volatile("tilezero %%tmm%c0" ::"i"(T));
}
template <int T>
inline void tile_load(const float* from, int64_t row_step) {
  asm volatile("tileloadd (%1,%2,1), %%tmm%c0" ::"i"(T), "r"(from), "r"(row_step * 4) : "memory");
}
template <int T>
inline void tile_store(float* to, int64_t row_step) {
  asm volatile("tilestored %%tmm%c0, (%1,%2,1)" ::"i"(T), "r"(to), "r"(row_step * 4) : "memory");
}
template <int Sum, int A, int B>
inline void tile_multiply() {
  asm volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" ::"i"(Sum), "i"(A), "i"(B));
}

// One quarter of the tile: f<register>(row, column) for those in use.
template <int R, int V, class F>
inline void each_sum(const F& f) {
  f.template operator()<0>(0, 0);
  if constexpr (V == 2) f.template operator()<1>(0, kSide);
  if constexpr (R == 2) f.template operator()<2>(kSide, 0);
  if constexpr (R == 2 && V == 2) f.template operator()<3>(kSide, kSide);
}

// R x V registers of sums.
template <int R, int V>
void tile_kernel(int64_t steps, const float* a, const float* b, float* c, int64_t c_step, bool add, Ahead ahead) {
  if (add)
    each_sum<R, V>([&]<int T>(int row, int column) { tile_load<T>(c + row * c_step + column, c_step); });
  else
    each_sum<R, V>([]<int T>(int, int) { tile_zero<T>(); });
  for (int64_t s = 0; s < steps; s += kSide, a += 2 * kRegister, b += kSide * kTileCols) {
#pragma GCC unroll 4
    for (int i = 0; i < kSide * kTileCols; i += 16) __builtin_prefetch(b + kSide * kTileCols + i);
    if (ahead.at) {
      for (int i = 0; i < kSide; ++i) __builtin_prefetch(ahead.at + i * ahead.step, 0, 2);
      ahead.at += ahead.chunk;
    }
    tile_load<4>(a, kSide);
    tile_load<6>(b, kTileCols);
    tile_multiply<0, 4, 6>();
    if constexpr (V == 2) {
      tile_load<7>(b + kSide, kTileCols);
      tile_multiply<1, 4, 7>();
    }
    if constexpr (R == 2) {
      tile_load<5>(a + kRegister, kSide);
      tile_multiply<2, 5, 6>();
    }
    if constexpr (R == 2 && V == 2) tile_multiply<3, 5, 7>();
  }
  each_sum<R, V>([&]<int T>(int row, int column) { tile_store<T>(c + row * c_step + column, c_step); });
}

// Rows x cols of c, at most a tile. One configuration serves all: another would clear the registers, and what of them lies outside c is
// thrown away.
template <class Numbers>
void compute_tile(int64_t steps, const float* a, const float* b, int64_t, float* c, int64_t c_step, int rows, int cols, bool add,
                  Ahead ahead) {
  constexpr decltype(&tile_kernel<1, 1>) kernels[2][2] = {{tile_kernel<1, 1>, tile_kernel<1, 2>}, {tile_kernel<2, 1>, tile_kernel<2, 2>}};
  const auto kernel = kernels[rows > kSide][cols > kSide];
  if (rows % kSide == 0 && cols % kSide == 0) return kernel(steps, a, b, c, c_step, add, ahead);
  alignas(64) float edge[kTileRows * kTileCols] = {};
  const auto each_row = [&](auto copy) {
    for (int i = 0; i < rows; ++i)
      for (int j = 0; j < cols; j += VW) copy(edge + i * kTileCols + j, c + i * c_step + j, cols - j < VW ? cols - j : VW);
  };
  if (add) each_row([](float* inside, const float* out, int n) { store(inside, load_part(out, n)); });
  kernel(steps, a, b, edge, kTileCols, add, ahead);
  each_row([](const float* inside, float* out, int n) { store_part(out, load(inside), n); });
}

// Panels of A, for every 32 of k the 32 rows one behind the other. Element (i, p) is src[i * row_step + p * k_step].
template <class Numbers>
void pack_rows(float* dst, const float* src, int64_t row_step, int64_t k_step, int64_t rows, int64_t k, bool) {
  constexpr int depth = 2 * kSide;  // of k in a register
  const int64_t panel_step = kPanelRows * Numbers::steps(k);
  const auto row = [&](int64_t i, int64_t p) { return dst + i / kPanelRows * panel_step + p * kSide + i % kPanelRows * kSide; };
  static_assert(depth * kSide == 2 * kRegister);
  const auto some = [](int64_t n) { return static_cast<int>(n < 0 ? 0 : n < VW ? n : VW); };
  if (k_step == 1 || k == 1) {
    for (int64_t i = 0; i < rows; ++i) {
      const float* from = src + i * row_step;
      for (int64_t p = 0; p < k; p += depth)
        store(row(i, p), neighbours(load_part(from + p, some(k - p)), load_part(from + p + VW, some(k - p - VW))));
    }
    return;
  }
  for (int64_t p = 0; p < k; p += depth) {  // 32 rows of k become 16 of pairs, whose columns are rows of A
    for (int64_t i = 0; i < rows; i += kSide) {
      alignas(64) float buffer[kRegister];
      const float* lines[kSide];
      for (int s = 0; s < kSide; ++s) {
        const int64_t even = p + 2 * s;
        const float* from = src + even * k_step + i * row_step;
        const int n = some(rows - i);
        __builtin_prefetch(from + depth * k_step);
        __builtin_prefetch(from + (depth + 1) * k_step);
        lines[s] = buffer + s * kSide;
        store(buffer + s * kSide, pairs(load_part(from, even < k ? n : 0), load_part(from + k_step, even + 1 < k ? n : 0)));
      }
      vf column[kSide];
      transpose_square(lines, 0, column);
      for (int s = 0; s < kSide; ++s) store(row(i + s, p), column[s]);
    }
  }
}

}  // namespace
}  // namespace heddle::cpu::HEDDLE_ISA
