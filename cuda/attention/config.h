#pragma once
// How attention is computed: kernel, tiles, shared memory. Pure functions of the arguments and the card, tested without a GPU.
//
// The fused kernels keep scores in registers, on the tensor cores, in 16-bit types: mma.sync (forward.cuh), or Hopper's own (hopper*.cuh).
// Composed of matmuls is what they don't take: f32, bf16 before sm_80, heads whose rows are not whole vectors of 16 bytes.
#include <algorithm>
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
  size_t shared;              // bytes of dynamic shared memory; Hopper's kernels know theirs
  int chunk = 0, chunks = 0;  // few queries: keys are cut into chunks of so many, computed side by side and put together in order
  size_t workspace = 0;       // of what the chunks give
  bool gathers = false;       // keys and values are copied out of their pages first, for a kernel that does not read pages
};

struct AttentionBackwardPlan {
  AttentionKernel kernel;
  int head;
  int key_stages, query_stages;  // of the kernels of dK and dV, and of dQ; Hopper's know theirs
  int64_t row_count;             // Tq in whole tiles
};
constexpr int kRowTile = 32;

// What the fused kernels of a head size are made for. Forward: a block of 4 warps computes `tile_q` queries, `tile_k` keys a step.
// Backward: a block computes dK and dV of `key_rows` keys, `key_columns` queries a step, or dQ of `query_rows` queries, `query_columns`
// keys a step. As large as registers allow.
struct AttentionTiles {
  int tile_q, tile_k;
  int key_rows, key_columns;
  int query_rows, query_columns;
};

constexpr int kAttentionHeads[] = {32, 64, 96, 128, 256};
constexpr int kAttentionThreads = 128, kHopperAttentionThreads = 384;
constexpr int kHopperAttentionTile = 128;
// sm_75 passes tiles through registers, and multiplies in steps of half the depth: larger heads would spill there.
constexpr int kMostHeadBefore80 = 128, kMostBackwardHeadBefore80 = 32;

constexpr int attention_head_index(int head) { return head == 32 ? 0 : head == 64 ? 1 : head == 96 ? 2 : head == 128 ? 3 : 4; }

constexpr AttentionTiles attention_tiles(int head) {
  if (head <= 64) return {128, 64, 128, 32, 128, 32};
  if (head == 96) return {128, 32, 64, 32, 128, 32};
  if (head == 128) return {128, 32, 128, 32, 128, 32};
  return {64, 32, 64, 32, 64, 32};
}
// Threads of a block of backward: a warp has 32 of its rows, or 16 where it sums twice as much as registers hold of 32.
constexpr int attention_backward_threads(int head, bool keys) { return keys && head == 128 ? 256 : kAttentionThreads; }
// How much of its own two tiles such a warp keeps in registers, in fragments of 16 elements of all its rows, so that what is walked is most
// of what it reads: the keys and a quarter of the values.
constexpr int attention_kept_chunks(int head, bool keys) { return keys && head == 128 ? 10 : 0; }
// Stages of what a block of backward walks; one where that leaves shared memory for a second block. 0: two where they fit, else one.
constexpr int attention_stages(int head, bool keys) { return head > 128 ? 0 : head == 128 && !keys ? 1 : 2; }
// Whether forward's registers keep the queries: then K and V have two stages each in shared memory, the second in the queries' place.
constexpr bool attention_keeps_queries(int head) { return head <= 64; }
// Dynamic shared memory of forward, of a block of so many queries.
constexpr int attention_forward_shared(int head, int queries) {
  const int stage = 2 * attention_tiles(head).tile_k;
  return head * 2 * (stage + (attention_keeps_queries(head) && queries < stage ? stage : queries));
}
// Elements of a head that a block of backward sums: registers hold no more.
constexpr int attention_width(int head, bool keys) { return keys && head == 256 ? 128 : head; }
// Dynamic shared memory of backward: the block's own tiles, and stages of the others with 8 bytes for each query.
constexpr int attention_backward_shared(int head, bool keys, int stages) {
  const AttentionTiles t = attention_tiles(head);
  return 2 * (keys ? t.key_rows : t.query_rows) * head * 2 + stages * (keys ? t.key_columns : t.query_columns) * (2 * head * 2 + 8);
}

// Decoding has few queries, whose blocks would leave most of a card idle: then keys are cut. Into how many chunks depends on the number of
// keys alone, so a row of a batch has the bits that it has alone.
constexpr int kFewQueries = 16, kChunkKeys = 256, kMostChunks = 16;

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
  constexpr int64_t kMostPositions = int64_t{1} << 28, kMostBlocks = 65535;  // of a grid's second and third dimension
  const bool type = s.type == DType::f16 || (s.type == DType::bf16 && card.has_bf16());
  const bool head = s.D >= 16 && s.D <= 256 && s.D % 8 == 0;
  const bool sizes = s.Tq <= kMostPositions && s.Tk <= kMostPositions && s.B <= kMostBlocks && s.H <= kMostBlocks;
  return type && head && sizes && s.scale > 0;  // the running maximum is one of unscaled scores
}

// Hopper's kernels: heads of one or two rows of their shared memory, operands of which no two rows are the same one, because the copy
// engine walks through them.
inline bool hopper_takes(const AttentionShape& s, const Card& card) {
  constexpr int64_t kMostTiles = int64_t{1} << 31;
  const int64_t tiles = ceil_div(s.Tq > s.Tk ? s.Tq : s.Tk, kHopperAttentionTile);
  return card.hopper && (s.D == 64 || s.D == 128) && s.B * s.H * tiles < kMostTiles;
}
inline bool rows_apart(const int64_t (&stride)[3], int64_t B, int64_t T, int64_t H) {
  return (B <= 1 || stride[0] > 0) && (T <= 1 || stride[1] > 0) && (H <= 1 || stride[2] > 0);
}
inline bool hopper_takes(const AttentionArgs& a, const Card& card) {
  const AttentionShape& s = a.s;
  return hopper_takes(s, card) && rows_apart(a.q_stride, s.B, s.Tq, s.H) && rows_apart(a.k_stride, s.B, s.Tk, s.Hkv) &&
         rows_apart(a.v_stride, s.B, s.Tk, s.Hkv);
}
inline bool hopper_takes(const AttentionBackwardArgs& a, const Card& card) {
  const AttentionShape& s = a.s;
  return hopper_takes(s, card) && rows_apart(a.q_stride, s.B, s.Tq, s.H) && rows_apart(a.do_stride, s.B, s.Tq, s.H) &&
         rows_apart(a.k_stride, s.B, s.Tk, s.Hkv) && rows_apart(a.v_stride, s.B, s.Tk, s.Hkv);
}

}  // namespace attention_config

// Keys and values out of their pages, side by side as [B][Tk][Hkv][D], in memory of gathered_bytes: k, then v.
inline size_t gathered_bytes(const AttentionArgs& a) {
  const AttentionShape& s = a.s;
  const size_t bytes = static_cast<size_t>(s.B * s.Tk * s.Hkv * s.D) * size_of(s.type);
  return 2 * ((bytes + 255) / 256 * 256);
}
inline AttentionArgs gathered(const AttentionArgs& a, char* memory) {
  AttentionArgs g = a;
  g.pages = {};
  g.k = memory;
  g.v = memory + gathered_bytes(a) / 2;
  const int64_t row = a.s.Hkv * a.s.D;
  for (auto* stride : {&g.k_stride, &g.v_stride}) (*stride)[0] = a.s.Tk * row, (*stride)[1] = row, (*stride)[2] = a.s.D;
  return g;
}

inline AttentionPlan plan_attention(const AttentionArgs& a, const Card& card) {
  using namespace attention_config;
  const AttentionShape& s = a.s;
  if (a.pages.table) {  // as if they lay side by side, so the bits are the same
    AttentionPlan p = plan_attention(gathered(a, nullptr), card);
    p.gathers = p.kernel != AttentionKernel::fused || !rows_aligned(a.k, a.k_stride, a.pages.count, a.pages.size, s.Hkv) ||
                !rows_aligned(a.v, a.v_stride, a.pages.count, a.pages.size, s.Hkv) || a.pages.count > INT32_MAX;
    return p;
  }
  AttentionPlan p{};
  if (!fits(s, card) || !rows_aligned(a.q, a.q_stride, s.B, s.Tq, s.H) || !rows_aligned(a.k, a.k_stride, s.B, s.Tk, s.Hkv) ||
      !rows_aligned(a.v, a.v_stride, s.B, s.Tk, s.Hkv) || !rows_aligned(a.o, a.o_stride, s.B, s.Tq, s.H))
    return p;
  const bool few = s.Tq <= kFewQueries && s.Tk > kChunkKeys;
  if (!few && hopper_takes(a, card)) {
    p = {AttentionKernel::hopper, static_cast<int>(s.D), kHopperAttentionTile, kHopperAttentionTile, kHopperAttentionThreads, 0};
    p.chunk = static_cast<int>(s.Tk);
    p.chunks = 1;
    return p;
  }
  const int head = head_for(s.D);
  const AttentionTiles tiles = attention_tiles(head);
  const auto shared = static_cast<size_t>(attention_forward_shared(head, tiles.tile_q));
  if (shared > card.shared_per_block || (head > kMostHeadBefore80 && card.sm < 80)) return p;
  p = {AttentionKernel::fused, head, tiles.tile_q, tiles.tile_k, kAttentionThreads, shared, static_cast<int>(s.Tk), 1, 0};
  if (few) {
    const int64_t chunk = ceil_div(ceil_div(s.Tk, kMostChunks), kChunkKeys) * kChunkKeys;
    p.chunk = static_cast<int>(chunk);
    p.chunks = static_cast<int>(ceil_div(s.Tk, chunk));
    p.workspace = static_cast<size_t>(p.chunks * s.B * s.H * s.Tq * (s.D + 1)) * sizeof(float);
  }
  return p;
}

inline AttentionBackwardPlan plan_attention_backward(const AttentionBackwardArgs& a, const Card& card) {
  using namespace attention_config;
  const AttentionShape& s = a.s;
  AttentionBackwardPlan p{};
  const bool aligned = rows_aligned(a.q, a.q_stride, s.B, s.Tq, s.H) && rows_aligned(a.k, a.k_stride, s.B, s.Tk, s.Hkv) &&
                       rows_aligned(a.v, a.v_stride, s.B, s.Tk, s.Hkv) && rows_aligned(a.o, a.o_stride, s.B, s.Tq, s.H) &&
                       rows_aligned(a.d_o, a.do_stride, s.B, s.Tq, s.H) && rows_aligned(a.dq, a.dq_stride, s.B, s.Tq, s.H) &&
                       rows_aligned(a.dk, a.dk_stride, s.B, s.Tk, s.Hkv) && rows_aligned(a.dv, a.dv_stride, s.B, s.Tk, s.Hkv);
  if (!fits(s, card) || !aligned) return p;
  if (hopper_takes(a, card)) {
    const int64_t rows = ceil_div(s.Tq, kHopperAttentionTile) * kHopperAttentionTile;
    return {AttentionKernel::hopper, static_cast<int>(s.D), 0, 0, rows};
  }
  const int head = head_for(s.D);
  if (head > kMostBackwardHeadBefore80 && card.sm < 80) return p;
  const auto stages = [&](bool keys) {  // 0: they do not fit
    const int wanted = attention_stages(head, keys);
    int most = wanted ? wanted : 2;
    while (most > 0 && static_cast<size_t>(attention_backward_shared(head, keys, most)) > card.shared_per_block) --most;
    return wanted && most < wanted ? 0 : most;
  };
  p = {AttentionKernel::fused, head, stages(true), stages(false), ceil_div(s.Tq, kRowTile) * kRowTile};
  if (p.key_stages == 0 || p.query_stages == 0) return {};
  return p;
}

}  // namespace heddle::cuda
