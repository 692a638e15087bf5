#pragma once
// Hopper's kernel on codes of fp8, for fp8_*_sm90.cu: pairs of formats, tiles.
#include "matmul/hopper_launch.cuh"

namespace heddle::cuda {

template <class T, FP8 A, FP8 B, int TileM, int TileN>
void launch_codes(const char* name, const MatmulPlan& plan, const MatmulProblem& p, const MatmulArgs& g) {
  launch_hopper_tile<TileM, TileN>(name, matmul_hopper_kernel<Codes<T, A, B>, TileM, TileN, true, true>, DType::u8, plan, p, g);
}

// names: of the tiles in their order.
template <class T, FP8 A, FP8 B, size_t... I>
void launch_formats(const char* const (&names)[kFP8TileCount], std::index_sequence<I...>, const MatmulPlan& plan, const MatmulProblem& p,
                    const MatmulArgs& g) {
  constexpr decltype(&launch_codes<T, A, B, 128, 128>) tiles[] = {
      launch_codes<T, A, B, kHopperTiles[kFirstFP8Tile + I].m, kHopperTiles[kFirstFP8Tile + I].n>...};
  const int tile = plan.hopper_tile - kFirstFP8Tile;
  tiles[tile](names[tile], plan, p, g);
}

template <class T>
void launch_fp8(const MatmulPlan& plan, const MatmulProblem& p, const FP8MatmulArgs& g) {
  constexpr FP8 e4m3 = FP8::e4m3, e5m2 = FP8::e5m2;
  constexpr std::make_index_sequence<kFP8TileCount> all;
  if (g.a_format == e4m3 && g.b_format == e4m3)
    launch_formats<T, e4m3, e4m3>({"matmul e4m3 128x128x128 wgmma", "matmul e4m3 128x64x128 wgmma", "matmul e4m3 64x128x128 wgmma"}, all,
                                  plan, p, g);
  else if (g.a_format == e4m3)
    launch_formats<T, e4m3, e5m2>(
        {"matmul e4m3 e5m2 128x128x128 wgmma", "matmul e4m3 e5m2 128x64x128 wgmma", "matmul e4m3 e5m2 64x128x128 wgmma"}, all, plan, p, g);
  else if (g.b_format == e4m3)
    launch_formats<T, e5m2, e4m3>(
        {"matmul e5m2 e4m3 128x128x128 wgmma", "matmul e5m2 e4m3 128x64x128 wgmma", "matmul e5m2 e4m3 64x128x128 wgmma"}, all, plan, p, g);
  else
    launch_formats<T, e5m2, e5m2>({"matmul e5m2 128x128x128 wgmma", "matmul e5m2 128x64x128 wgmma", "matmul e5m2 64x128x128 wgmma"}, all,
                                  plan, p, g);
}

}  // namespace heddle::cuda
