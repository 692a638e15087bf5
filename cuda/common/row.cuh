#pragma once
// Kernels over rows: a short row lives in the registers of one warp, a long one is shared out to the threads of a block. Either way
// it is cut into vectors of V elements (16 bytes, or single elements where rows are not aligned).
#include <type_traits>

#include "common/types.cuh"
#include "runtime/queue.h"

namespace heddle::cuda {

template <int N>
using Int = std::integral_constant<int, N>;

constexpr int kRowWarps = 4;  // rows of a block of warps

// A vector where `inside`, else zeros.
template <int V, class T>
__device__ inline Vector<T, V> load_if(bool inside, const T* p) {
  Vector<T, V> part{};
  if (inside) part = load_vector<T, V>(p);
  return part;
}

// f(k, column, inside) for the N vectors of this lane: number k starts at `column`, which may lie beyond the row. Lanes do not part ways:
// everyone computes, who is inside loads and stores.
template <int V, int N, class F>
__device__ inline void each_of_lane(int cols, F&& f) {
#pragma unroll
  for (int k = 0; k < N; ++k) {
    const int column = (k * 32 + static_cast<int>(threadIdx.x) % 32) * V;
    f(k, column, column < cols);
  }
}

// This lane's vectors of a row; zeros where the row has ended: there the load goes to the row's start, so that all loads are issued
// before the first is used, without a branch between them. All lanes take part; the row may then be written over.
template <int V, int N, class T>
__device__ inline void load_lane(const T* row, int cols, Vector<T, V> (&part)[N]) {
  each_of_lane<V, N>(cols, [&](int k, int column, bool inside) { part[k] = load_vector<T, V>(row + (inside ? column : 0)); });
  __syncwarp();
  each_of_lane<V, N>(cols, [&](int k, int, bool inside) { part[k] = inside ? part[k] : Vector<T, V>{}; });
}

// f(column) for the vectors of this thread of a block.
template <int V, class F>
__device__ inline void each_of_thread(int64_t cols, F&& f) {
#pragma unroll 2
  for (int64_t column = static_cast<int64_t>(threadIdx.x) * V; column < cols; column += static_cast<int64_t>(blockDim.x) * V) f(column);
}

// f(column, load(column)) for the vectors of this thread of a block, of which four are loaded before the first is used.
template <int V, class Load, class F>
__device__ inline void each_loaded(int64_t cols, Load&& load, F&& f) {
  constexpr int kAhead = 4;
  const int64_t step = static_cast<int64_t>(blockDim.x) * V;
  int64_t column = static_cast<int64_t>(threadIdx.x) * V;
  for (; column + (kAhead - 1) * step < cols; column += kAhead * step) {
    decltype(load(column)) part[kAhead];
#pragma unroll
    for (int k = 0; k < kAhead; ++k) part[k] = load(column + k * step);
#pragma unroll
    for (int k = 0; k < kAhead; ++k) f(column + k * step, part[k]);
  }
#pragma unroll 1
  for (; column < cols; column += step) f(column, load(column));
}

// Whether rows of `cols` elements that start at these addresses can be accessed by 16 bytes; null pointers do not matter.
template <class T, class... P>
bool rows_aligned(int64_t cols, const P*... operands) {
  return cols % kVector<T> == 0 && (aligned16(operands) && ...);
}

// The longest row for a warp.
constexpr int64_t warp_cols(bool aligned) { return aligned ? 1024 : 256; }

// f(V, N) for rows of at most warp_cols(aligned): N vectors of V elements a lane.
template <class T, class F>
void dispatch_warp_row(int64_t cols, bool aligned, F&& f) {
  constexpr int V = kVector<T>;
  if (!aligned) return f(Int<1>{}, Int<8>{});
  if (cols <= 256) return f(Int<V>{}, Int<8 / V>{});
  if (cols <= 768) return f(Int<V>{}, Int<24 / V>{});
  f(Int<V>{}, Int<32 / V>{});
}

// f(V) for longer rows.
template <class T, class F>
void dispatch_block_row(bool aligned, F&& f) {
  if (aligned) return f(Int<kVector<T>>{});
  f(Int<1>{});
}

// Threads of a block for one row: four vectors each, up to 512 threads.
inline unsigned row_threads(int64_t cols, int V) {
  const int64_t threads = (cols / (4 * V) + 31) / 32 * 32;
  return threads < 32 ? 32 : threads > 512 ? 512 : static_cast<unsigned>(threads);
}

// Shared memory for a copy of the row, which is then read from memory once; 0 where a block cannot have that much beside its scratch.
inline size_t row_in_shared(size_t bytes) {
  constexpr size_t kScratch = 768;
  return bytes + kScratch <= queue().card->shared_per_block ? bytes : 0;
}

// As much of a row as two blocks of a multiprocessor can keep in shared memory, in whole vectors: one loads while the other computes.
inline size_t row_part_in_shared(size_t bytes) {
  constexpr size_t kScratch = 768, kSystem = 1024;
  const Card& card = *queue().card;
  const size_t half = card.shared_per_multiprocessor / 2 - kSystem;
  const size_t most = (half < card.shared_per_block ? half : card.shared_per_block) - kScratch;
  return bytes < most ? bytes : most / 16 * 16;
}

inline unsigned warp_row_blocks(int64_t rows) { return static_cast<unsigned>((rows + kRowWarps - 1) / kRowWarps); }

}  // namespace heddle::cuda
