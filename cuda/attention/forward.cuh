#pragma once
// Fused attention forward on mma.sync (Dao, "FlashAttention-2", 2023, algorithm 1): a block of 4 warps computes a tile of queries of one
// head, a warp 32 of them (16 where heads are large). Keys come a tile at a time, the last first; scores stay in registers:
//   S = Q K^T;  m' = max(m, rowmax S);  P = 2^(c (S - m'));  l = 2^(c (m - m')) l + rowsum P;  O = 2^(c (m - m')) O + P V
// with c = scale * log2 e, and in the end o = O / l, lse = scale m + ln l. Accumulators of S are the A fragments of P as they lie.
//
// A tile's keys pass through the softmax 32 at a time, so that scores of one part are multiplied while those of another become weights. K
// and V of the next tile arrive meanwhile, where the queries were, once registers have them. Large heads leave no registers for the
// queries: then K and V have one tile each; V's arrives while S is computed, the next K's during the rest. Plain: neither documents nor
// dropout; then tiles of which all is seen, most of them, have a loop without masks and without branches.
#include <type_traits>

#include "attention/forward_rows.cuh"
#include "attention/fused.h"
#include "attention/launch.h"
#include "runtime/launch.cuh"
#include "tile/heads.cuh"

namespace heddle::cuda {

// A block's work on so many queries. keys, values: HeadsOf, or what gives rows of a head otherwise.
template <class T, int Head, int Queries, bool Plain, class Heads>
__device__ __forceinline__ void attention_forward(const FusedForward<T>& p, const Heads& keys, const Heads& values) {
  if constexpr (has_fused<T, Head>()) {
    constexpr AttentionTiles kTiles = attention_tiles(Head);
    constexpr bool kKeepQ = attention_keeps_queries(Head);
    constexpr int kQueries = Queries, kKeys = kTiles.tile_k, kPart = kKeepQ ? 32 : kKeys, kParts = kKeys / kPart;
    constexpr int kRows = kQueries / 4, M = kRows / 16;
    constexpr bool kFinds = kKeepQ || ptx::has_async_copies();        // before the loop without masks: where a thread loads and reads
    constexpr uint32_t kTile = kKeys * Head * 2, kStage = 2 * kTile;  // bytes: of K or V, of both
    extern __shared__ __align__(1024) unsigned char shared[];
    const uint32_t tile_k = ptx::shared_address(shared), tile_v = tile_k + kTile, tile_q = tile_k + kStage;

    // blocks: tile and chunk of keys, head, batch; the last queries, which in a causal mask see most, first
    const int chunk = static_cast<int>(blockIdx.x) / p.s.tiles, h = static_cast<int>(blockIdx.y), b = static_cast<int>(blockIdx.z);
    const int first = (p.s.tiles - 1 - static_cast<int>(blockIdx.x) % p.s.tiles) * kQueries;
    const int warp_row = static_cast<int>(threadIdx.x) / 32 * kRows;
    const int64_t lse_row = (static_cast<int64_t>(b) * p.s.H + h) * p.s.mask.Tq;
    const AttentionMask mask = Plain ? p.s.mask.plain() : p.s.mask.of_batch(b);
    const bool drops = !Plain && p.s.dropout.random != nullptr;
    KeyTiles tiles{mask.keys(first, min(first + kQueries, mask.Tq)), {}};
    tiles.seen.low = max(tiles.seen.low, chunk * p.chunk);
    tiles.seen.high = min(tiles.seen.high, (chunk + 1) * p.chunk);
    if (mask.q_documents) tiles.documents = document_range(mask.q_documents, first, kQueries, mask.Tq);
    const Interval seen = first + warp_row < mask.Tq ? mask.keys(first + warp_row, min(first + warp_row + kRows, mask.Tq)) : Interval{0, 0};

    const auto k_rows = keys.head(b, h / p.s.group, mask.Tk, p.s.D), v_rows = values.head(b, h / p.s.group, mask.Tk, p.s.D);
    ForwardRows<T, Head, M, kPart / 8, kParts> rows;
    uint32_t q[kKeepQ ? Head / 16 : 1][M][4];
    int tile = tiles.seen.empty() ? -1 : tiles.before<kKeys>(mask, (tiles.seen.high + kKeys - 1) / kKeys);
    const int last = tiles.seen.low / kKeys;
    if (tile >= last && !tiles.seen.empty()) {
      load_rows<Head, kQueries, kAttentionThreads>(tile_q, p.q.head(b, h, mask.Tq, p.s.D), first);
      load_rows<Head, kKeys, kAttentionThreads>(tile_k, k_rows, tile * kKeys);
      if constexpr (kKeepQ) load_rows<Head, kKeys, kAttentionThreads>(tile_v, v_rows, tile * kKeys);
      ptx::commit_copies();
      if constexpr (kKeepQ) {
        ptx::wait_copies<0>();
        __syncthreads();
        const HeadFragments<Head, Operand::a> read_q(warp_row);
#pragma unroll
        for (int c = 0; c < Head / 16; ++c)
#pragma unroll
          for (int m = 0; m < M; ++m) read_q.read(q[c][m], tile_q, m, c);
      }
      uint32_t stage = 0;
      // One tile of keys. whole: every query of the block sees all of it. thread(): its number; read before the loop, places that follow
      // from it take registers there, read anew they take none.
      const auto step = [&](auto whole, const auto& thread) {
        constexpr bool kWhole = decltype(whole)::value;
        const int key = tile * kKeys;
        int next;
        const auto load = [&](uint32_t to, const auto& from, int tile, bool exists) {
          if constexpr (kWhole && kFinds)
            WholeRows<Head, kKeys, kAttentionThreads, T>(from, thread()).load(to, tile * kKeys, exists);
          else if (exists)
            load_rows<Head, kKeys, kAttentionThreads>(to, from, tile * kKeys);
        };
        // whether the warp sees something: a vote, so that the compiler knows that lanes agree
        const bool sees = kWhole || __any_sync(0xffffffffu, key < seen.high && key + kKeys > seen.low);
        uint32_t keep[M];
        const auto multiply = [&] {
          const HeadFragments<Head, Operand::a> read_q(warp_row, thread() % 32);
          const HeadFragments<Head, Operand::b> read_k(0, thread() % 32);
          if (drops) rows.draw(keep, p.s.dropout, lse_row + first + warp_row, mask.Tk, key);
          const auto queries = [&](int c) -> const uint32_t (&)[M][4] {
            if constexpr (!kKeepQ)
#pragma unroll
              for (int m = 0; m < M; ++m) read_q.read(q[0][m], tile_q, m, c);
            return q[kKeepQ ? c : 0];
          };
#pragma unroll
          for (int part = 0; part < kParts; ++part) rows.multiply(part, queries, read_k, tile_k + stage);
        };
        const auto add = [&] {
          const bool all = kWhole || (mask.full(first + warp_row, kRows, key, kKeys) &&
                                      (!mask.k_documents || tiles.documents.same(document_range(mask.k_documents, key, kKeys, mask.Tk))));
          if (!all)
#pragma unroll
            for (int part = 0; part < kParts; ++part) rows.hide(part, mask, first + warp_row, key + part * kPart);
#pragma unroll
          for (int part = 0; part < kParts; ++part) {
            rows.softmax(part, p.s.scale_log2);
            if (drops) rows.drop(part, keep);
            const HeadFragments<Head, Operand::b_across> read_v(0, thread() % 32);
            rows.add(part, read_v, tile_v + stage);
          }
        };
        ptx::wait_copies<0>();
        __syncthreads();  // what is read has come, where the next comes to has been read
        if constexpr (kKeepQ) {
          next = tiles.before<kKeys>(mask, tile);
          load(tile_k + (stage ^ kStage), k_rows, next, next >= last);
          load(tile_v + (stage ^ kStage), v_rows, next, next >= last);
          ptx::commit_copies();
          if (sees) {
            multiply();
            add();
          }
          stage ^= kStage;
        } else {
          load(tile_v, v_rows, tile, true);
          ptx::commit_copies();
          if (sees) multiply();
          ptx::wait_copies<0>();
          __syncthreads();  // V is there, K has been read
          next = tiles.before<kKeys>(mask, tile);
          load(tile_k, k_rows, next, next >= last);
          ptx::commit_copies();
          if (sees) add();
        }
        tile = next;
      };
      const Interval whole = mask.template full_tiles<kKeys>(first, kQueries);
#pragma unroll 1
      do {
        if constexpr (Plain) {
          const int found = kKeepQ ? ptx::thread() : static_cast<int>(threadIdx.x);  // here, or before both loops
          const auto thread = [&] { return kFinds ? found : ptx::thread(); };
#pragma unroll 1
          while (tile < whole.high && tile >= max(whole.low, last)) step(std::true_type{}, thread);
          if (tile < last) break;
        }
        step(std::false_type{}, [] { return ptx::thread(); });
      } while (tile >= last);
      ptx::wait_copies<0>();
      __syncthreads();  // results go where a stage has been
    }

    const int lane = ptx::lane();
    const int64_t part_row = static_cast<int64_t>(chunk) * gridDim.z * p.s.H * mask.Tq + lse_row;
    __syncwarp();
#pragma unroll
    for (int m = 0; m < M; ++m) {
      float factor[2];
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        float sum = rows.sum[m][half];
        sum += __shfl_xor_sync(0xffffffffu, sum, 1);
        sum += __shfl_xor_sync(0xffffffffu, sum, 2);
        factor[half] = sum == 0.0f ? 0.0f : p.s.dropout.scale / sum;
        const int i = first + warp_row + m * 16 + half * 8 + lane / 4;
        if (i >= mask.Tq) continue;
        const float lse = sum == 0.0f ? kNegativeInfinity : rows.base[m][half] * kLn2 + logf(sum);
        if (lane % 4 == 0) (p.parts ? p.part_lse[part_row + i] : p.lse[lse_row + i]) = lse;
        if (!p.parts) continue;
        float* to = p.parts + (part_row + i) * p.s.D + lane % 4 * 2;
#pragma unroll
        for (int j = 0; j < Head / 8; ++j)
          if (j * 8 < p.s.D)
            *reinterpret_cast<float2*>(to + j * 8) = {rows.o[m][j][2 * half] * factor[half], rows.o[m][j][2 * half + 1] * factor[half]};
      }
      if (!p.parts) keep_rows<T, Head>(tile_q, warp_row + m * 16, rows.o[m], factor[0], factor[1]);
    }
    if (p.parts) return;
    __syncwarp();
    write_rows<Head, kRows>(shared + kStage + warp_row * Head * 2, first + warp_row, p.o.head(b, h, mask.Tq, p.s.D));
  }
}

template <class T, int Head, bool Plain>
__global__ void __launch_bounds__(kAttentionThreads, 2) attention_forward_kernel(const __grid_constant__ FusedForward<T> p) {
  attention_forward<T, Head, attention_tiles(Head).tile_q, Plain>(p, p.k, p.v);
}

// Chunks of keys put together in order, a warp a query: o = sum_c e^(lse_c - lse) o_c, lse = ln sum_c e^lse_c.
template <class T>
__global__ void __launch_bounds__(kAttentionThreads)
    attention_combine_kernel(const __grid_constant__ FusedForward<T> p, int chunks, int64_t all) {
  const int64_t row = static_cast<int64_t>(blockIdx.x) * (kAttentionThreads / 32) + threadIdx.x / 32;
  if (row >= all) return;
  const int lane = threadIdx.x % 32, Tq = p.s.mask.Tq, i = static_cast<int>(row % Tq), bh = static_cast<int>(row / Tq);
  float top = kNegativeInfinity, sum = 0;
  for (int c = 0; c < chunks; ++c) top = fmaxf(top, p.part_lse[c * all + row]);
  const float base = top == kNegativeInfinity ? 0.0f : top;
  for (int c = 0; c < chunks; ++c) sum += expf(p.part_lse[c * all + row] - base);
  const float factor = sum == 0.0f ? 0.0f : 1.0f / sum;
  const HeadRows<T> o = p.o.head(bh / p.s.H, bh % p.s.H, Tq, p.s.D);
  for (int d = lane * 2; d < p.s.D; d += 64) {
    float2 x{0, 0};
    for (int c = 0; c < chunks; ++c) {
      const float weight = expf(p.part_lse[c * all + row] - base);
      const float2 part = *reinterpret_cast<const float2*>(p.parts + (c * all + row) * p.s.D + d);
      x.x = fmaf(weight, part.x, x.x);
      x.y = fmaf(weight, part.y, x.y);
    }
    *reinterpret_cast<Vector<T, 2>*>(o.data + i * o.stride + d) = {{from_float<T>(x.x * factor), from_float<T>(x.y * factor)}};
  }
  if (lane == 0) p.lse[row] = sum == 0.0f ? kNegativeInfinity : top + logf(sum);
}

template <class T>
FusedForward<T> fused_forward(const AttentionArgs& a, const AttentionPlan& plan) {
  FusedForward<T> p{};
  p.s = FusedShape(a.s, static_cast<int>(attention_config::ceil_div(a.s.Tq, plan.tile_q)));
  p.q = heads_of<const T>(a.q, a.q_stride);
  p.k = heads_of<const T>(a.k, a.k_stride);
  p.v = heads_of<const T>(a.v, a.v_stride);
  p.o = heads_of<T>(a.o, a.o_stride);
  p.lse = a.lse;
  p.chunk = plan.chunk;
  if (plan.chunks > 1) {
    p.parts = static_cast<float*>(a.workspace);
    p.part_lse = p.parts + plan.chunks * a.s.B * a.s.H * a.s.Tq * a.s.D;
  }
  return p;
}

template <class T>
dim3 forward_grid(const AttentionArgs& a, const FusedForward<T>& p, const AttentionPlan& plan) {
  return dim3(static_cast<unsigned>(p.s.tiles * plan.chunks), static_cast<unsigned>(a.s.H), static_cast<unsigned>(a.s.B));
}

template <class T>
void launch_attention_forward(const char* const (&names)[5], const AttentionArgs& a, const AttentionPlan& plan) {
  const FusedForward<T> p = fused_forward<T>(a, plan);
  using Kernel = decltype(&attention_forward_kernel<T, 32, false>);
  constexpr Kernel kernels[] = {attention_forward_kernel<T, 32, false>, attention_forward_kernel<T, 64, false>,
                                attention_forward_kernel<T, 96, false>, attention_forward_kernel<T, 128, false>,
                                attention_forward_kernel<T, 256, false>};
  constexpr Kernel plain[] = {attention_forward_kernel<T, 64, true>, attention_forward_kernel<T, 128, true>};
  const int which = attention_head_index(plan.head);
  const bool is_plain = p.s.plain() && (plan.head == 64 || plan.head == 128);
  launch(names[which], is_plain ? plain[plan.head == 128] : kernels[which], forward_grid(a, p, plan), static_cast<unsigned>(plan.threads),
         plan.shared, p);
}

template <class T>
void launch_attention_combine(const char* name, const AttentionArgs& a, const AttentionPlan& plan) {
  const int64_t rows = a.s.B * a.s.H * a.s.Tq;
  launch(name, attention_combine_kernel<T>, static_cast<unsigned>(attention_config::ceil_div(rows, kAttentionThreads / 32)),
         kAttentionThreads, 0, fused_forward<T>(a, plan), plan.chunks, rows);
}

}  // namespace heddle::cuda
