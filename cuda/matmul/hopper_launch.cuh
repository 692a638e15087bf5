#pragma once
// How the kernels of hopper.cuh are launched: maps of their operands, blocks, the instantiation of a tile.
#include <algorithm>
#include <utility>

#include "matmul/hopper.cuh"
#include "matmul/launch.h"
#include "runtime/launch.cuh"
#include "runtime/occupancy.h"
#include "runtime/tensor_map.h"

namespace heddle::cuda {

using HopperFunction = void (*)(MatmulProblem, CUtensorMap, CUtensorMap, BoxMaps);

// box_rows: what a load takes; of an operand along m or n, at most a slab of 64.
inline TensorBox box_of(const void* base, DType type, bool k_major, int64_t rows, int64_t K, int64_t ld, const int64_t (&batch)[2],
                        const int64_t (&stride)[2], int box_rows) {
  const int most = k_major ? box_rows : std::min(box_rows, 64);
  const int across = static_cast<int>(128 / size_of(type));
  return {type, base, k_major ? K : rows, k_major ? rows : K, ld, {batch[0], batch[1]}, {stride[0], stride[1]}, across, most};
}

// Maps of what a warp finishes at a time; of tensors that are not there, nothing.
inline BoxMaps finish_maps(const MatmulPlan& plan, const MatmulArgs& g) {
  BoxMaps maps{};
  if (!plan.box_stores) return maps;
  const auto map = [&](const void* base, int64_t ld, const int64_t (&stride)[2]) {
    return tensor_map({g.type, base, g.N, g.M, ld, {g.batch[0], g.batch[1]}, {stride[0], stride[1]}, 64, 16});
  };
  const int64_t dense[2] = {g.batch[1] * g.M * g.N, g.M * g.N};
  maps.c = map(g.c, g.c_m, g.c_batch);
  if (g.pre) maps.pre = map(g.pre, g.N, dense);
  if (const void* residual = g.derivative_at ? g.derivative_at : g.residual) maps.residual = map(residual, g.N, dense);
  return maps;
}

// type: of the operands.
template <int TileM, int TileN>
void launch_hopper_tile(const char* name, HopperFunction kernel, DType type, const MatmulPlan& plan, const MatmulProblem& p,
                        const MatmulArgs& g) {
  const CUtensorMap a = tensor_map(box_of(g.a, type, plan.a_k_major, g.M, g.K, plan.lda, g.batch, g.a_batch, TileM));
  const CUtensorMap b = tensor_map(box_of(g.b, type, plan.b_k_major, g.N, g.K, plan.ldb, g.batch, g.b_batch, TileN / 2));
  // Persistent: as many as run at once share the units. With turns each takes one.
  const uint32_t units = p.tiles_m * p.tiles_n * p.products * p.chunks;
  const size_t shared = sizeof(HopperShared<TileM, TileN>);
  const auto most =
      p.turns ? units : static_cast<uint32_t>(resident_clusters(reinterpret_cast<const void*>(kernel), plan.cluster, plan.threads, shared));
  launch_clusters(name, kernel, plan.cluster, std::min(units, most) * static_cast<uint32_t>(plan.cluster), kHopperThreads, shared, p, a, b,
                  finish_maps(plan, g));
}

template <class T, int TileM, int TileN>
void launch_numbers(const char* name, const MatmulPlan& plan, const MatmulProblem& p, const MatmulArgs& g) {
  constexpr HopperFunction kernels[2][2] = {
      {matmul_hopper_kernel<T, TileM, TileN, false, false>, matmul_hopper_kernel<T, TileM, TileN, false, true>},
      {matmul_hopper_kernel<T, TileM, TileN, true, false>, matmul_hopper_kernel<T, TileM, TileN, true, true>}};
  launch_hopper_tile<TileM, TileN>(name, kernels[plan.a_k_major][plan.b_k_major], g.type, plan, p, g);
}

// all: names of the tiles in their order; the same where blocks take turns.
template <class T, size_t... I>
void launch_hopper(const char* const (&all)[2][kHopperTileCount], std::index_sequence<I...>, const MatmulPlan& plan, const MatmulProblem& p,
                   const MatmulArgs& g) {
  constexpr decltype(&launch_numbers<T, 128, 128>) tiles[] = {launch_numbers<T, kHopperTiles[I].m, kHopperTiles[I].n>...};
  tiles[plan.hopper_tile](all[p.turns != nullptr][plan.hopper_tile], plan, p, g);
}

}  // namespace heddle::cuda
