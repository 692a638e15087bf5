#pragma once
// How attention is computed: kernel, tiles, shared memory. Pure functions of the arguments and the card, tested without a GPU.
//
// The fused kernels keep scores in registers, on the tensor cores, in 16-bit types: mma.sync (forward.cuh), or Hopper's own (hopper*.cuh).
// Composed of matmuls is what they don't take: f32, bf16 before sm_80, heads whose rows are not whole vectors of 16 bytes.
#include <cstdint>

#include "ops/backend.h"
#include "runtime/card.h"

namespace heddle::cuda {

enum class AttentionKernel : int32_t { composed, fused, hopper };

struct AttentionPlan {
  AttentionKernel kernel;
  int head;            // D rounded up to one that the kernel is made for; what is beyond D is 0 in shared memory
  int tile_q, tile_k;  // forward: queries of a block, keys of a step
  int threads;
  size_t shared;  // bytes of dynamic shared memory
};

// What a fused kernel is made for, by its head size. Forward: a block of 4 warps computes `tile_q` queries, `tile_k` keys a step.
// Backward: a block computes `rows` keys (dK, dV) or queries (dQ), `columns` of the others a step.
struct AttentionTiles {
  int tile_q, tile_k;
  int key_rows, key_columns;      // of the kernel of dK and dV
  int query_rows, query_columns;  // of the kernel of dQ
};

constexpr int kAttentionHeads[] = {32, 64, 96, 128, 256};
constexpr int kAttentionThreads = 128;
constexpr int attention_head_index(int head) { return head == 32 ? 0 : head == 64 ? 1 : head == 96 ? 2 : head == 128 ? 3 : 4; }

constexpr AttentionTiles attention_tiles(int head) {
  if (head <= 64) return {128, 64, 128, 32, 128, 32};
  if (head == 96) return {128, 64, 64, 32, 128, 32};
  if (head == 128) return {128, 32, 64, 32, 128, 32};
  return {64, 32, 64, 32, 64, 32};
}

namespace attention_config {

inline int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

// Rows of an operand of 16-bit elements, (B, T, H, D) with strides of B, T, H, begin at multiples of 16 bytes.
inline bool rows_aligned(const void* data, const int64_t (&stride)[3], int64_t B, int64_t T, int64_t H) {
  const int64_t extent[3] = {B, T, H};
  bool aligned = reinterpret_cast<uintptr_t>(data) % 16 == 0;
  for (int d = 0; d < 3; ++d) aligned &= extent[d] <= 1 || stride[d] % 8 == 0;
  return aligned;
}

inline int head_for(int64_t D) {
  for (const int head : kAttentionHeads)
    if (D <= head) return head;
  return 0;
}

// What both kernels of the portable path ask of a problem, its operands' addresses apart.
inline bool fits(const AttentionShape& s, const Card& card) {
  constexpr int64_t kMostPositions = int64_t{1} << 28, kMostBlocks = 0x7fffffff;
  const bool type = s.type == DType::f16 || (s.type == DType::bf16 && card.has_bf16());
  const bool head = s.D >= 16 && s.D <= 256 && s.D % 8 == 0;
  const bool sizes =
      s.Tq <= kMostPositions && s.Tk <= kMostPositions && s.B * s.H * (ceil_div(s.Tq > s.Tk ? s.Tq : s.Tk, 32) + 1) <= kMostBlocks;
  return type && head && sizes && s.scale > 0;  // the running maximum is one of unscaled scores
}

}  // namespace attention_config

inline AttentionPlan plan_attention(const AttentionArgs& a, const Card& card) {
  using namespace attention_config;
  const AttentionShape& s = a.s;
  AttentionPlan p{};
  if (!fits(s, card) || !rows_aligned(a.q, a.q_stride, s.B, s.Tq, s.H) || !rows_aligned(a.k, a.k_stride, s.B, s.Tk, s.Hkv) ||
      !rows_aligned(a.v, a.v_stride, s.B, s.Tk, s.Hkv) || !rows_aligned(a.o, a.o_stride, s.B, s.Tq, s.H))
    return p;
  const int head = head_for(s.D);
  const AttentionTiles tiles = attention_tiles(head);
  const size_t shared = static_cast<size_t>(head * 2 * (tiles.tile_q + 2 * tiles.tile_k));
  if (shared > card.shared_per_block || (head > 128 && card.sm < 80)) return p;  // sm_75 passes tiles through registers: too few there
  p = {AttentionKernel::fused, head, tiles.tile_q, tiles.tile_k, kAttentionThreads, shared};
  return p;
}

inline AttentionPlan plan_attention_backward(const AttentionBackwardArgs&, const Card&) { return {}; }

}  // namespace heddle::cuda
