#pragma once
// Fused attention backward on mma.sync. With c = scale * log2 e, k = 0 or 1 / (1 - p) of dropout and delta = rowsum(dO o), for each pair
// of tiles (Dao, "FlashAttention-2", 2023, algorithm 2):
//   P = 2^(c Q K^T - lse log2 e);  dP = dO V^T;  dS = P (k dP - delta);  dV += (k P)^T dO;  dK += scale dS^T Q;  dQ += scale dS K
// Two kernels of one form, each of which owns what it sums, so that nothing is added by atomics and the order is fixed: one walks the
// queries of a tile of keys, head after head of its group, for dK and dV; one walks the keys of a tile of queries, for dQ. P and dS are
// computed in both.
//
// A block's own tiles are A operands: 32 or 16 rows a warp, in shared memory or, where that would not feed the products, in part in
// registers. What it walks ("columns") comes 32 or 16 at a time, in one or two stages. For dK and dV scores are transposed, so that
// accumulators of P^T and dS^T are A fragments as they lie. Plain: neither documents nor dropout; then tiles of which all is seen, most of
// them, have a loop without masks.
#include <type_traits>

#include "attention/backward_delta.cuh"
#include "attention/backward_scores.cuh"
#include "attention/fused.h"
#include "attention/launch.h"
#include "common/exp.cuh"
#include "ptx/shared.cuh"
#include "runtime/launch.cuh"
#include "tile/heads.cuh"

namespace heddle::cuda {

template <class T>
struct FusedBackward {
  FusedShape s;
  HeadsOf<const T> q, k, v, d_o;
  HeadsOf<T> first, second;  // dK and dV, or dQ
  bool add_first, add_second;
  const float2* rows;  // [B * H][row_count] of RowSums
  int row_count;       // Tq in whole tiles
  int stages;
};

template <class T, int Head, bool Keys, bool Plain>
__global__ void __launch_bounds__(attention_backward_threads(Head, Keys), 256 / attention_backward_threads(Head, Keys))
    attention_backward_kernel(const __grid_constant__ FusedBackward<T> a) {
  if constexpr (has_fused_backward<T, Head>()) {
    constexpr AttentionTiles kTiles = attention_tiles(Head);
    constexpr int kOwn = Keys ? kTiles.key_rows : kTiles.query_rows, kColumns = Keys ? kTiles.key_columns : kTiles.query_columns;
    constexpr int kThreads = attention_backward_threads(Head, Keys), kStages = attention_stages(Head, Keys);
    constexpr int kChunks = Head / 16, kKept = attention_kept_chunks(Head, Keys);
    constexpr int kRows = kOwn / (kThreads / 32), M = kRows / 16, N = kColumns / 8, kWidth = attention_width(Head, Keys);
    constexpr int kOwnBytes = kOwn * Head * 2, kColumnBytes = kColumns * Head * 2, kStage = 2 * kColumnBytes + kColumns * 8;
#if __CUDA_ARCH__ >= 900  // where a second loop of these would spill
    constexpr bool kPlain = Plain && kStages != 1;
#else
    constexpr bool kPlain = Plain;
#endif
    using Scores = BackwardScores<T, Head, Keys, M, N>;
    extern __shared__ __align__(1024) unsigned char shared[];
    const uint32_t own = ptx::shared_address(shared), stages = own + 2 * kOwnBytes;

    // blocks: tile and part of the width, head (of keys or queries), batch
    constexpr int kParts = Head / kWidth;
    const int part = static_cast<int>(blockIdx.x) % kParts, block = static_cast<int>(blockIdx.x) / kParts;
    const int head = static_cast<int>(blockIdx.y), b = static_cast<int>(blockIdx.z);
    const int tile = Keys ? block : a.s.tiles - 1 - block;  // the most work first
    const int first = tile * kOwn, warp_row = static_cast<int>(threadIdx.x) / 32 * kRows, row = first + warp_row;
    const AttentionMask mask = kPlain ? a.s.mask.plain() : a.s.mask.of_batch(b);
    const bool drops = !kPlain && a.s.dropout.random != nullptr;
    const int row_count = Keys ? mask.Tk : mask.Tq, column_count = Keys ? mask.Tq : mask.Tk;
    const auto seen_by = [&](int from, int count) {
      if (from >= row_count) return Interval{0, 0};
      const int to = min(from + count, row_count);
      return Keys ? mask.queries(from, to) : mask.keys(from, to);
    };
    const Interval all = seen_by(first, kOwn);

    ColumnWalk walk{};
    walk.begin = all.low / kColumns;
    walk.end = all.empty() ? walk.begin : (all.high + kColumns - 1) / kColumns;
    walk.heads = Keys ? a.s.group : 1;
    walk.documents = Keys ? mask.q_documents : mask.k_documents;
    walk.count = column_count;
    if (walk.documents) walk.own = document_range(Keys ? mask.k_documents : mask.q_documents, first, kOwn, row_count);
    walk.start<kColumns>();

    const auto load_columns = [&](uint32_t stage) {
      const int h = Keys ? head * a.s.group + walk.head : head / a.s.group;
      const int at = walk.tile * kColumns;
      const auto& x = Keys ? a.q : a.k;
      const auto& y = Keys ? a.d_o : a.v;
      load_rows<Head, kColumns, kThreads>(stage, x.head(b, h, column_count, a.s.D), at);
      load_rows<Head, kColumns, kThreads>(stage + kColumnBytes, y.head(b, h, column_count, a.s.D), at);
      if constexpr (Keys) {
        const int thread = ptx::thread();
        if (thread < kColumns / 2)
          move_chunk(stage + 2 * kColumnBytes + thread * 16, a.rows + (static_cast<int64_t>(b) * a.s.H + h) * a.row_count + at + thread * 2,
                     true);
      }
    };

    float first_sum[M][kWidth / 8][4] = {}, second_sum[Keys ? M : 1][Keys ? kWidth / 8 : 1][4] = {};
    float lse[Keys ? 1 : M][2], delta[Keys ? 1 : M][2];  // of rows; read in every step where no registers are left to keep them
    const auto read_sums = [&] {
#pragma unroll
      for (int m = 0; m < M; ++m)
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          const int i = first + ptx::thread() / 32 * kRows + m * 16 + half * 8 + ptx::lane() / 4;
          const float2 of =
              i < mask.Tq ? a.rows[(static_cast<int64_t>(b) * a.s.H + head) * a.row_count + i] : float2{-kNegativeInfinity, 0};
          lse[m][half] = of.x;
          delta[m][half] = of.y;
        }
    };
    if constexpr (!Keys && kStages != 1) read_sums();

    if (!walk.done()) {
      const auto& x = Keys ? a.k : a.q;
      const auto& y = Keys ? a.v : a.d_o;
      load_rows<Head, kOwn, kThreads>(own, x.head(b, head, row_count, a.s.D), first);
      load_rows<Head, kOwn, kThreads>(own + kOwnBytes, y.head(b, head, row_count, a.s.D), first);
      load_columns(stages);
      ptx::commit_copies();
      uint32_t kept[kKept + 1][M][4];  // the last: what is read for one product
      const auto read_kept = [&](const HeadFragments<Head, Operand::a>& read_own, int to, int n) {
#pragma unroll
        for (int m = 0; m < M; ++m) read_own.read(kept[to][m], own + n / kChunks * kOwnBytes, m, n % kChunks);
      };
      if constexpr (kKept > 0) {
        ptx::wait_copies<0>();
        __syncthreads();
        const HeadFragments<Head, Operand::a> read_own(warp_row);
#pragma unroll
        for (int n = 0; n < kKept; ++n) read_kept(read_own, n, n);
      }
      const bool two_stages = (kStages ? kStages : a.stages) == 2;
      uint32_t stage = stages;
      const auto seen_whole = [&](int from, int count, int column) {
        return Keys ? mask.full(column, kColumns, from, count) : mask.full(from, count, column, kColumns);
      };
      // One tile of columns. whole: all of it and of the block's rows see each other.
      const auto step = [&](auto whole) {
        constexpr bool kWhole = decltype(whole)::value;
        const int column = walk.tile * kColumns;
        const uint32_t columns = stage;
        const int walk_head = walk.head;
        ptx::wait_copies<0>();
        __syncthreads();  // these columns are there, the other stage has been read
        walk.next<kColumns>();
        if (two_stages) {
          stage = 2 * stages + kStage - stage;  // the other one
          if (!walk.done()) load_columns(stage);
          ptx::commit_copies();
        }
        const int warp_first = first + ptx::thread() / 32 * kRows;                                 // `row`, without a register for it
        const Interval seen = kWhole ? Interval{column, column + 1} : seen_by(warp_first, kRows);  // by the warp
        if (column < seen.high && column + kColumns > seen.low) {
          Scores x;
          uint32_t keep = 0;
          const int64_t dropout_head = static_cast<int64_t>(b) * a.s.H + (Keys ? head * a.s.group + walk_head : head);
          if (drops) keep = Scores::draw(a.s.dropout, dropout_head, mask.Tq, mask.Tk, warp_first, column);
          const HeadFragments<Head, Operand::a> read_own(warp_row);
          const auto own_tile = [&](int i) {
            return [&, i](int c) -> const uint32_t (&)[M][4] {
              const int n = i * kChunks + c;
              if (n < kKept) return kept[n];
              read_kept(read_own, kKept, n);
              return kept[kKept];
            };
          };
          Scores::multiply(x.p, own_tile(0), columns);
          const bool full = kWhole || (seen_whole(warp_first, kRows, column) &&
                                       (!walk.documents || walk.own.same(document_range(walk.documents, column, kColumns, column_count))));
          if (!full) x.hide(mask, warp_first, column);
          const auto exponential = [&](float& score, float of) { score = exp2_fast(fmaf(score, a.s.scale_log2, -of)); };
          if constexpr (!Keys) {
            if constexpr (kStages == 1) read_sums();
            Scores::each(x.p, [&](int m, int, int e, float& score) { exponential(score, lse[m][e / 2]); });
          }
          Scores::multiply(x.dp, own_tile(1), columns + kColumnBytes);
          if (drops) x.drop(x.dp, keep, a.s.dropout.scale);
          if constexpr (Keys) {
            const uint32_t sums = columns + 2 * kColumnBytes + ptx::lane() % 4 * 16;
#pragma unroll
            for (int j = 0; j < N; ++j) {
              float of[4];  // lse, delta of the lane's two columns
              ptx::load_four(of, sums + j * 64);
#pragma unroll
              for (int m = 0; m < M; ++m)
#pragma unroll
                for (int e = 0; e < 4; ++e) {
                  exponential(x.p[m][j][e], of[e % 2 * 2]);
                  x.dp[m][j][e] = x.p[m][j][e] * (x.dp[m][j][e] - of[e % 2 * 2 + 1]);
                }
            }
          } else {
            Scores::each(x.dp, [&](int m, int j, int e, float& score) { score = x.p[m][j][e] * (score - delta[m][e / 2]); });
          }
          if (Keys && drops) x.drop(x.p, keep, 1);
          const uint32_t offset = part * kWidth * 2;
          if constexpr (Keys) Scores::template add<kWidth>(second_sum, x.p, columns + kColumnBytes + offset);
          Scores::template add<kWidth>(first_sum, x.dp, columns + offset);
        }
        if (!two_stages) {
          __syncthreads();
          if (!walk.done()) load_columns(stages);
          ptx::commit_copies();
        }
      };
#pragma unroll 1
      do {
        if constexpr (kPlain) {
#pragma unroll 1
          while (!walk.done() && seen_whole(first, kOwn, walk.tile * kColumns)) step(std::true_type{});
          if (walk.done()) break;
        }
        step(std::false_type{});
      } while (!walk.done());
      ptx::wait_copies<0>();
    }

    // a warp's own rows become its results'
    const auto finish = [&](float (&sum)[M][kWidth / 8][4], float factor, uint32_t place, const HeadsOf<T>& out, bool accumulate) {
      HeadRows<T> to = out.head(b, head, row_count, a.s.D);
      to.data += part * kWidth;
      to.D -= part * kWidth;
      place += warp_row * Head * 2;
      __syncwarp();
#pragma unroll
      for (int m = 0; m < M; ++m) {
        scale_rows<kWidth>(sum[m], factor, row + m * 16, to, accumulate);
        keep_rows<T, kWidth>(own + place, m * 16, sum[m]);
      }
      __syncwarp();
      write_rows<kWidth, kRows>(shared + place, row, to);
    };
    finish(first_sum, a.s.scale, 0, a.first, a.add_first);
    if constexpr (Keys) finish(second_sum, a.s.dropout.scale, kOwnBytes, a.second, a.add_second);
  }
}

template <class T>
struct FusedBackwardLaunch {
  RowSums<T> rows;
  FusedBackward<T> keys, queries;
  dim3 key_blocks, query_blocks;

  FusedBackwardLaunch(const AttentionBackwardArgs& a, const AttentionBackwardPlan& plan) {
    const AttentionShape& s = a.s;
    const AttentionTiles tiles = attention_tiles(plan.head);
    const auto q = heads_of<const T>(a.q, a.q_stride), k = heads_of<const T>(a.k, a.k_stride), v = heads_of<const T>(a.v, a.v_stride),
               o = heads_of<const T>(a.o, a.o_stride), d_o = heads_of<const T>(a.d_o, a.do_stride);
    const auto dq = heads_of<T>(a.dq, a.dq_stride), dk = heads_of<T>(a.dk, a.dk_stride), dv = heads_of<T>(a.dv, a.dv_stride);
    FusedBackward<T> common{};
    common.q = q;
    common.k = k;
    common.v = v;
    common.d_o = d_o;
    common.rows = rows.rows = static_cast<float2*>(a.workspace);
    common.row_count = rows.row_count = static_cast<int>(plan.row_count);

    rows.o = o;
    rows.d_o = d_o;
    rows.lse = a.lse;
    rows.H = static_cast<int>(s.H);
    rows.Tq = static_cast<int>(s.Tq);
    rows.D = static_cast<int>(s.D);
    rows.all = s.B * s.H * plan.row_count;

    const int64_t key_tiles = attention_config::ceil_div(s.Tk, tiles.key_rows),
                  query_tiles = attention_config::ceil_div(s.Tq, tiles.query_rows);
    keys = queries = common;
    keys.s = FusedShape(s, static_cast<int>(key_tiles));
    keys.first = dk;
    keys.second = dv;
    keys.add_first = a.accumulate_dk;
    keys.add_second = a.accumulate_dv;
    keys.stages = plan.key_stages;
    queries.s = FusedShape(s, static_cast<int>(query_tiles));
    queries.first = dq;
    queries.add_first = a.accumulate_dq;
    queries.stages = plan.query_stages;
    const auto grid = [&](int64_t tiles_and_parts, int64_t heads) {
      return dim3(static_cast<unsigned>(tiles_and_parts), static_cast<unsigned>(heads), static_cast<unsigned>(s.B));
    };
    key_blocks = grid(key_tiles * (plan.head / attention_width(plan.head, true)), s.Hkv);
    query_blocks = grid(query_tiles, s.H);
  }
};

// names: of the kernels of dK and dV, of dQ.
template <class T>
void launch_attention_backward(const char* delta, const char* const (&names)[2][5], const AttentionBackwardArgs& a,
                               const AttentionBackwardPlan& plan) {
  using Kernel = decltype(&attention_backward_kernel<T, 32, true, false>);
  constexpr Kernel kernels[2][5] = {{attention_backward_kernel<T, 32, true, false>, attention_backward_kernel<T, 64, true, false>,
                                     attention_backward_kernel<T, 96, true, false>, attention_backward_kernel<T, 128, true, false>,
                                     attention_backward_kernel<T, 256, true, false>},
                                    {attention_backward_kernel<T, 32, false, false>, attention_backward_kernel<T, 64, false, false>,
                                     attention_backward_kernel<T, 96, false, false>, attention_backward_kernel<T, 128, false, false>,
                                     attention_backward_kernel<T, 256, false, false>}};
  constexpr Kernel plain[2][2] = {{attention_backward_kernel<T, 64, true, true>, attention_backward_kernel<T, 128, true, true>},
                                  {attention_backward_kernel<T, 64, false, true>, attention_backward_kernel<T, 128, false, true>}};
  const FusedBackwardLaunch<T> p(a, plan);
  const int which = attention_head_index(plan.head);
  const bool is_plain = p.keys.s.plain() && (plan.head == 64 || plan.head == 128);
  const auto kernel = [&](int what) { return is_plain ? plain[what][plan.head == 128] : kernels[what][which]; };
  const auto threads = [&](bool keys) { return static_cast<unsigned>(attention_backward_threads(plan.head, keys)); };
  const auto shared = [&](bool keys, int stages) { return static_cast<size_t>(attention_backward_shared(plan.head, keys, stages)); };
  launch(delta, attention_delta_kernel<T>, static_cast<unsigned>(attention_config::ceil_div(p.rows.all, 256 / kRowLanes)), 256, 0, p.rows);
  launch(names[0][which], kernel(0), p.key_blocks, threads(true), shared(true, plan.key_stages), p.keys);
  launch(names[1][which], kernel(1), p.query_blocks, threads(false), shared(false, plan.query_stages), p.queries);
}

}  // namespace heddle::cuda
