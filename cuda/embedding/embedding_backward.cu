// The gradient of an embedding table: dtable[ids[i]] += dy[i], in order of i.
//
// A stable radix sort (least significant digit first) of the pairs (id, i) brings the tokens of an id together, still in order of i.
// Then a warp takes each run of equal ids and a group of columns, and adds its rows one after the other: every element of the table
// has one writer. An id outside the table is noted and sorts behind all others, where nobody reads it.
#include "common/row.cuh"
#include "kernels.h"
#include "runtime/launch.cuh"
#include "workspace.h"

namespace heddle::cuda {
namespace {

constexpr int kThreads = 256, kWarps = kThreads / 32;
constexpr int kItems = 4;  // rounds of a warp: 32 pairs each
constexpr int kTile = kEmbeddingTile, kDigits = kEmbeddingDigits;
static_assert(kTile == kThreads * kItems && kDigits == kThreads);

using Pair = EmbeddingPair;

// The workspace: two arrays of pairs, and how many pairs of each tile have each digit, digit by digit.
struct Sort {
  Pair *from, *to;
  int32_t* counts;  // [kDigits][tiles]
  int tiles;
};

// The pair `at`; of the ids themselves in the first pass, when `pairs` is null.
__device__ inline Pair pair_at(const EmbeddingBackwardArgs& a, const Pair* pairs, int64_t at) {
  if (pairs) return pairs[at];
  const int32_t id = a.ids[at];
  return {id >= 0 && id < a.V ? id : static_cast<int32_t>(a.V), static_cast<int32_t>(at)};
}

__device__ inline int digit_of(int32_t id, int shift) { return static_cast<int>(static_cast<uint32_t>(id) >> shift) % kDigits; }

// Where in its tile a warp's round starts: a warp's rounds follow each other, so that order within the tile is (warp, round, lane).
__device__ inline int64_t round_start(int warp, int round) {
  return static_cast<int64_t>(blockIdx.x) * kTile + (warp * kItems + round) * 32;
}

__global__ void __launch_bounds__(kThreads) embedding_count(EmbeddingBackwardArgs a, const Pair* pairs, Sort s, int shift, Fault* fault) {
  __shared__ int32_t counts[kDigits];
  counts[threadIdx.x] = 0;
  __syncthreads();
  for (int k = 0; k < kItems; ++k) {
    const int64_t at = static_cast<int64_t>(blockIdx.x) * kTile + k * kThreads + threadIdx.x;
    if (at >= a.n) break;
    const Pair p = pair_at(a, pairs, at);
    if (shift == 0 && p.id == a.V) report(fault, FaultKind::embedding_id, at, a.ids[at], a.V);
    atomicAdd(&counts[digit_of(p.id, shift)], 1);
  }
  __syncthreads();
  s.counts[static_cast<int64_t>(threadIdx.x) * s.tiles + blockIdx.x] = counts[threadIdx.x];
}

// Exclusive sums of counts over (digit, tile): where the pairs of a tile with a digit go. One block; a thread has a digit.
__global__ void __launch_bounds__(kDigits) embedding_offsets(Sort s) {
  __shared__ int32_t totals[kDigits];
  int32_t* const mine = s.counts + static_cast<int64_t>(threadIdx.x) * s.tiles;
  int32_t total = 0;
  for (int t = 0; t < s.tiles; ++t) total += mine[t];
  totals[threadIdx.x] = total;
  __syncthreads();
  for (int step = 1; step < kDigits; step *= 2) {
    const int32_t before = static_cast<int>(threadIdx.x) >= step ? totals[threadIdx.x - step] : 0;
    __syncthreads();
    totals[threadIdx.x] += before;
    __syncthreads();
  }
  int32_t start = totals[threadIdx.x] - total;
  for (int t = 0; t < s.tiles; ++t) {
    const int32_t count = mine[t];
    mine[t] = start;
    start += count;
  }
}

// The lanes of this warp with the same digit. All lanes take part; those without a pair have digit -1.
__device__ inline unsigned lanes_with(int digit) { return __match_any_sync(0xffffffffu, digit); }

__global__ void __launch_bounds__(kThreads) embedding_scatter(EmbeddingBackwardArgs a, const Pair* pairs, Sort s, int shift) {
  __shared__ int32_t counts[kWarps][kDigits];  // then: where the next pair of a warp with a digit goes
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  for (int w = 0; w < kWarps; ++w) counts[w][threadIdx.x] = 0;
  __syncthreads();
  Pair p[kItems];
  int digit[kItems];
  unsigned same[kItems];
#pragma unroll
  for (int k = 0; k < kItems; ++k) {
    const int64_t at = round_start(warp, k) + lane;
    const bool there = at < a.n;
    p[k] = there ? pair_at(a, pairs, at) : Pair{0, 0};
    digit[k] = there ? digit_of(p[k].id, shift) : -1;
    same[k] = lanes_with(digit[k]);
    if (there && lane == __ffs(static_cast<int>(same[k])) - 1) counts[warp][digit[k]] += __popc(same[k]);
    __syncwarp();
  }
  __syncthreads();
  int32_t start = s.counts[static_cast<int64_t>(threadIdx.x) * s.tiles + blockIdx.x];
  for (int w = 0; w < kWarps; ++w) {
    const int32_t count = counts[w][threadIdx.x];
    counts[w][threadIdx.x] = start;
    start += count;
  }
  __syncthreads();
#pragma unroll
  for (int k = 0; k < kItems; ++k) {
    int32_t first = 0;
    if (digit[k] >= 0) first = counts[warp][digit[k]];
    __syncwarp();
    if (digit[k] >= 0) {
      s.to[first + __popc(same[k] & ((1u << lane) - 1))] = p[k];
      if (lane == __ffs(static_cast<int>(same[k])) - 1) counts[warp][digit[k]] = first + __popc(same[k]);
    }
    __syncwarp();
  }
}

// A warp per sorted pair and group of 32 * V columns; the one at the start of a run of equal ids adds up the run. Loads run ahead of
// the additions, which stay in order.
template <class T, int V>
__global__ void __launch_bounds__(kThreads, 3) embedding_sum(EmbeddingBackwardArgs a, const Pair* pairs) {
  constexpr int kAhead = 8;
  const int lane = threadIdx.x % 32;
  const int64_t at = static_cast<int64_t>(blockIdx.x) * kWarps + threadIdx.x / 32;
  const int64_t column = (static_cast<int64_t>(blockIdx.y) * 32 + lane) * V;
  if (at >= a.n) return;
  const int32_t id = pairs[at].id;
  if (id == a.V || (at > 0 && pairs[at - 1].id == id)) return;
  const bool inside = column < a.C;  // who is not reads along and keeps nothing
  const T* dy = static_cast<const T*>(a.dy) + (inside ? column : 0);
  float* to = a.dtable + id * a.C + (inside ? column : 0);
  Vector<float, V> sum{};
  if (a.accumulate && inside) sum = load_vector<float, V>(to);
  const auto add = [&](const Vector<T, V>& part) {
#pragma unroll
    for (int j = 0; j < V; ++j) sum.x[j] += to_float(part.x[j]);
  };
  int run = 32;
  for (int64_t low = at; run == 32; low += 32) {  // 32 pairs at a time, one a lane
    Pair mine{-1, 0};
    if (low + lane < a.n) mine = pairs[low + lane];
    const unsigned others = __ballot_sync(0xffffffffu, mine.id != id);
    run = others ? __ffs(static_cast<int>(others)) - 1 : 32;
    int k = 0;
    for (; k + kAhead <= run; k += kAhead) {
      Vector<T, V> part[kAhead];
#pragma unroll
      for (int u = 0; u < kAhead; ++u) part[u] = load_vector<T, V>(dy + __shfl_sync(0xffffffffu, mine.i, k + u) * a.C);
#pragma unroll
      for (int u = 0; u < kAhead; ++u) add(part[u]);
    }
    for (; k < run; ++k) add(load_vector<T, V>(dy + __shfl_sync(0xffffffffu, mine.i, k) * a.C));
  }
  if (inside) store_vector<float, V>(to, sum);
}

// Returns the sorted pairs.
const Pair* sort(const EmbeddingBackwardArgs& a) {
  Sort s;
  s.tiles = static_cast<int>(embedding_tiles(a.n));
  s.from = static_cast<Pair*>(a.workspace);
  s.to = s.from + a.n;
  s.counts = reinterpret_cast<int32_t*>(s.to + a.n);
  const Pair* pairs = nullptr;
  for (int shift = 0; shift == 0 || a.V >> shift > 0; shift += 8) {
    launch("embedding_count", embedding_count, static_cast<unsigned>(s.tiles), kThreads, 0, a, pairs, s, shift, queue().fault);
    launch("embedding_offsets", embedding_offsets, 1, kDigits, 0, s);
    launch("embedding_scatter", embedding_scatter, static_cast<unsigned>(s.tiles), kThreads, 0, a, pairs, s, shift);
    pairs = s.to;
    s.to = s.from;
    s.from = const_cast<Pair*>(pairs);
  }
  return pairs;
}

}  // namespace

void embedding_backward(const EmbeddingBackwardArgs& a) {
  if (!a.accumulate && a.V * a.C > 0)
    check(cudaMemsetAsync(a.dtable, 0, static_cast<size_t>(a.V * a.C) * sizeof(float), queue().stream), "embeddingBackward");
  if (a.n == 0 || a.C == 0) return;
  const Pair* const pairs = sort(a);
  dispatch_float(a.type, [&](auto type) {
    using T = decltype(type);
    // Four of any type, so that 16 bytes of the table's gradient a thread lie side by side.
    const bool aligned = a.C % 4 == 0 && aligned16(a.dtable) && reinterpret_cast<uintptr_t>(a.dy) % (4 * sizeof(T)) == 0;
    const auto sum = [&](auto v) {
      const dim3 grid(static_cast<unsigned>((a.n + kWarps - 1) / kWarps), static_cast<unsigned>((a.C + 32 * v() - 1) / (32 * v())));
      launch("embedding_sum", embedding_sum<T, v()>, grid, kThreads, 0, a, pairs);
    };
    aligned ? sum(Int<4>{}) : sum(Int<1>{});
  });
}

}  // namespace heddle::cuda
