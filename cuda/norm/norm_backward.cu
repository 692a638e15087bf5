// Gradients of LayerNorm and RMSNorm. With d = h - mean and g = dy * w: dx = rstd * (g - mean(g) - d * k), k = rstd^2 * mean(g * d);
// dw = sum over rows of dy * d * rstd, db = sum over rows of dy. `low`, what rounding the mean to f32 lost, is mean(d): it is taken
// off again.
//
// As many blocks as the shape asks for share the rows. Each adds up dw and db over its rows, in f32, and leaves them in the workspace as
// two rows of C; a second kernel adds these in the order of the blocks.
#include "common/reduce.cuh"
#include "common/row.cuh"
#include "kernels.h"
#include "runtime/launch.cuh"
#include "workspace.h"

namespace heddle::cuda {
namespace {

constexpr int kWarps = kNormWarps;
constexpr int kPartGroups = 8;  // of a block that adds the partial sums
static_assert(kNormWarpColumns == warp_cols(true));

// dx = rstd * (g - c - k * d), and the normalised value is d * rstd + shift.
struct RowTerms {
  float mean, rstd, k, c, shift;
};

// From the sums over the row of g, d and g * d.
template <bool rms>
__device__ inline RowTerms row_terms(float mean, float rstd, int64_t cols, float sum_g, float sum_d, float sum_gd) {
  const float size = static_cast<float>(cols), mean_g = rms ? 0.0f : sum_g / size, low = rms ? 0.0f : sum_d / size;
  const float k = rstd * rstd * fmaf(-low, mean_g, sum_gd / size);
  return {mean, rstd, k, fmaf(-low, k, mean_g), -low * rstd};
}

struct RowSums {
  float g = 0, d = 0, gd = 0;
};

// Without weights: ones.
template <int V, class T>
__device__ inline Vector<T, V> weights_at(const T* w, int64_t column, bool inside = true) {
  Vector<T, V> weight;
#pragma unroll
  for (int j = 0; j < V; ++j) weight.x[j] = from_float<T>(1);
  if (w && inside) weight = load_vector<T, V>(w + column);
  return weight;
}

// `inside`: whether the vector lies in the row; h and dy are 0 where it does not.
template <class T, int V>
__device__ inline void add_terms(RowSums& s, const Vector<T, V>& weight, const Vector<T, V>& h, const Vector<T, V>& dy, float mean,
                                 bool inside = true) {
#pragma unroll
  for (int j = 0; j < V; ++j) {
    const float d = inside ? to_float(h.x[j]) - mean : 0.0f, g = to_float(dy.x[j]) * to_float(weight.x[j]);
    s.g += g;
    s.d += d;
    s.gd = fmaf(g, d, s.gd);
  }
}

// `old`: what dx was, where it is added to.
template <class T, int V>
__device__ inline Vector<T, V> dx_of(const NormBackwardArgs& a, const RowTerms& t, const Vector<T, V>& weight, const Vector<T, V>& h,
                                     const Vector<T, V>& dy, const Vector<T, V>& old) {
  Vector<T, V> out;
#pragma unroll
  for (int j = 0; j < V; ++j) {
    const float d = to_float(h.x[j]) - t.mean, g = to_float(dy.x[j]) * to_float(weight.x[j]);
    const float v = t.rstd * fmaf(-t.k, d, g - t.c);
    out.x[j] = from_float<T>(a.accumulate_dx ? to_float(old.x[j]) + v : v);
  }
  return out;
}

template <class T, int V>
__device__ inline void add_weights(const RowTerms& t, const Vector<T, V>& h, const Vector<T, V>& dy, float* dw, float* db) {
#pragma unroll
  for (int j = 0; j < V; ++j) {
    const float up = to_float(dy.x[j]);
    dw[j] = fmaf(up, fmaf(to_float(h.x[j]) - t.mean, t.rstd, t.shift), dw[j]);
    db[j] += up;
  }
}

// V values to shared memory, by 16 bytes where there are four: lanes that lie V words apart would meet in the same banks.
template <int V>
__device__ inline void add_to_shared(float* to, const float (&x)[V], bool first) {
  constexpr int W = V % 4 == 0 ? 4 : 1;
#pragma unroll
  for (int j = 0; j < V; j += W) {
    Vector<float, W> sum{};
    if (!first) sum = load_vector<float, W>(to + j);
#pragma unroll
    for (int i = 0; i < W; ++i) sum.x[i] = first ? x[j + i] : sum.x[i] + x[j + i];
    keep_vector<float, W>(to + j, sum);
  }
}

// What a lane reads of a row. All loads are issued at once; where the row has ended they go to its start, and `cut` makes them zeros.
template <class T, bool rms, int V, int N>
struct LaneRow {
  Vector<T, V> h[N], dy[N], old[N];
  float mean, rstd;

  __device__ void load(const NormBackwardArgs& a, int64_t row, bool adds) {
    const int64_t at = row * a.cols;
    each_of_lane<V, N>(static_cast<int>(a.cols), [&](int k, int column, bool inside) {
      const int64_t from = at + (inside ? column : 0);
      h[k] = load_vector<T, V>(static_cast<const T*>(a.h) + from);
      dy[k] = load_vector<T, V>(static_cast<const T*>(a.dy) + from);
      if (adds) old[k] = load_vector<T, V>(static_cast<const T*>(a.dx) + from);
    });
    mean = rms ? 0.0f : a.mean[row];
    rstd = a.rstd[row];
  }
  __device__ void cut(int cols) {
    each_of_lane<V, N>(cols, [&](int k, int, bool inside) {
      h[k] = inside ? h[k] : Vector<T, V>{};
      dy[k] = inside ? dy[k] : Vector<T, V>{};
    });
  }
};

// A warp per row, rows and sums in registers; at the end the warps add their sums in shared memory, one after the other. A block is all
// that a multiprocessor holds, so while a warp computes a row its next one is on the way, where there are registers for it.
template <class T, bool rms, int V, int N>
__global__ void __launch_bounds__(32 * kWarps, 1) norm_backward_warp(NormBackwardArgs a, float* partial) {
  extern __shared__ __align__(16) float sums[];  // [2][C]
  constexpr bool kAhead = N * V * sizeof(T) <= 48;
  const int warp = threadIdx.x / 32, cols = static_cast<int>(a.cols);
  const int64_t first = static_cast<int64_t>(blockIdx.x) * kWarps + warp, stride = static_cast<int64_t>(gridDim.x) * kWarps;
  const bool adds = a.dx && a.accumulate_dx;
  const T* const w = static_cast<const T*>(a.w);
  float dw[N][V] = {}, db[N][V] = {};
  Vector<T, V> kept[N] = {};
  LaneRow<T, rms, V, N> next;
  if constexpr (kAhead) each_of_lane<V, N>(cols, [&](int k, int column, bool inside) { kept[k] = weights_at<V>(w, column, inside); });
  if (kAhead && first < a.rows) next.load(a, first, adds);
  const auto weight = [&](int k, int column, bool inside) { return kAhead ? kept[k] : weights_at<V>(w, column, inside); };
  for (int64_t row = first; row < a.rows; row += stride) {
    if constexpr (!kAhead) next.load(a, row, adds);
    LaneRow<T, rms, V, N> now = next;
    now.cut(cols);
    if (kAhead && row + stride < a.rows) next.load(a, row + stride, adds);
    RowSums s;
    each_of_lane<V, N>(cols, [&](int k, int column, bool inside) {
      add_terms<T, V>(s, weight(k, column, inside), now.h[k], now.dy[k], now.mean, inside);
    });
    if (!rms) {
      s.g = warp_reduce<Add>(s.g);
      s.d = warp_reduce<Add>(s.d);
    }
    s.gd = warp_reduce<Add>(s.gd);
    const RowTerms t = row_terms<rms>(now.mean, now.rstd, a.cols, s.g, s.d, s.gd);
    __syncwarp();  // dx may lie over h or dy, of which every lane has read the start
    each_of_lane<V, N>(cols, [&](int k, int column, bool inside) {
      const Vector<T, V> out = dx_of<T, V>(a, t, weight(k, column, inside), now.h[k], now.dy[k], now.old[k]);
      if (a.dx && inside) store_vector<T, V>(static_cast<T*>(a.dx) + row * a.cols + column, out);
      add_weights<T, V>(t, now.h[k], now.dy[k], dw[k], db[k]);
    });
  }
  if (!partial) return;
  for (int turn = 0; turn < kWarps; ++turn) {
    if (warp == turn)
      each_of_lane<V, N>(cols, [&](int k, int column, bool inside) {
        if (inside) add_to_shared(sums + column, dw[k], turn == 0);
        if (inside) add_to_shared(sums + cols + column, db[k], turn == 0);
      });
    __syncthreads();
  }
  for (int i = threadIdx.x; i < 2 * cols; i += blockDim.x) partial[static_cast<int64_t>(blockIdx.x) * 2 * cols + i] = sums[i];
}

// A block per row. Every column belongs to one thread, so the sums are added in the workspace itself, which the caches hold; the second
// pass finds the row there, too.
template <class T, bool rms, int V>
__global__ void __launch_bounds__(512, 2) norm_backward_block(NormBackwardArgs a, float* partial) {
  __shared__ float scratch[32];
  float* const dw = partial ? partial + blockIdx.x * 2 * a.cols : nullptr;
  float* const db = partial ? dw + a.cols : nullptr;
  const T* const w = static_cast<const T*>(a.w);
  for (int64_t row = blockIdx.x; row < a.rows; row += gridDim.x) {
    const int64_t at = row * a.cols;
    const T *h = static_cast<const T*>(a.h) + at, *dy = static_cast<const T*>(a.dy) + at;
    const float mean = rms ? 0.0f : a.mean[row], rstd = a.rstd[row];
    RowSums s;
    each_of_thread<V>(a.cols, [&](int64_t column) {
      add_terms<T, V>(s, weights_at<V>(w, column), load_vector<T, V>(h + column), load_vector<T, V>(dy + column), mean);
    });
    if (!rms) {
      s.g = block_reduce<Add>(s.g, scratch);
      s.d = block_reduce<Add>(s.d, scratch);
    }
    s.gd = block_reduce<Add>(s.gd, scratch);
    const RowTerms t = row_terms<rms>(mean, rstd, a.cols, s.g, s.d, s.gd);
    each_of_thread<V>(a.cols, [&](int64_t column) {
      const Vector<T, V> part = load_vector<T, V>(h + column), up = load_vector<T, V>(dy + column);
      if (a.dx) {
        T* const dx = static_cast<T*>(a.dx) + at + column;
        const Vector<T, V> old = load_if<V>(a.accumulate_dx, dx);
        store_vector<T, V>(dx, dx_of<T, V>(a, t, weights_at<V>(w, column), part, up, old));
      }
      if (!partial) return;
      Vector<float, V> sum_w{}, sum_b{};
      if (row != blockIdx.x) {
        sum_w = load_vector<float, V>(dw + column);
        sum_b = load_vector<float, V>(db + column);
      }
      add_weights<T, V>(t, part, up, sum_w.x, sum_b.x);
      store_vector<float, V>(dw + column, sum_w);
      store_vector<float, V>(db + column, sum_b);
    });
  }
}

// dw (+)= the sum of the blocks' rows, in their order; blockIdx.y 1: db. A block has 32 columns and kPartGroups runs of rows.
__global__ void __launch_bounds__(32 * kPartGroups)
    norm_backward_sum(const float* partial, int blocks, int64_t cols, float* dw, float* db, bool accumulate_dw, bool accumulate_db) {
  __shared__ float sums[kPartGroups][32];
  float* const out = blockIdx.y ? db : dw;
  if (!out) return;
  const int lane = threadIdx.x % 32, group = threadIdx.x / 32, share = (blocks + kPartGroups - 1) / kPartGroups;
  const int64_t column = static_cast<int64_t>(blockIdx.x) * 32 + lane;
  const int end = (group + 1) * share < blocks ? (group + 1) * share : blocks;
  float sum = 0;
  if (column < cols) {
#pragma unroll 4
    for (int i = group * share; i < end; ++i) sum += partial[(static_cast<int64_t>(i) * 2 + blockIdx.y) * cols + column];
  }
  sums[group][lane] = sum;
  __syncthreads();
  if (group != 0 || column >= cols) return;
  for (int i = 1; i < kPartGroups; ++i) sum += sums[i][lane];
  out[column] = (blockIdx.y ? accumulate_db : accumulate_dw) ? out[column] + sum : sum;
}

template <class T, bool rms>
void rows_as(const NormBackwardArgs& a, unsigned blocks, float* partial) {
  const bool aligned = rows_aligned<T>(a.cols, a.h, a.w, a.dy, a.dx);
  if (a.cols <= warp_cols(aligned)) {
    dispatch_warp_row<T>(a.cols, aligned, [&](auto v, auto n) {
      launch("norm_backward_warp", norm_backward_warp<T, rms, v(), n()>, blocks, 32 * kWarps,
             2 * static_cast<size_t>(a.cols) * sizeof(float), a, partial);
    });
  } else {
    // Four of any type, so that 16 bytes of the sums a thread lie side by side.
    const auto run = [&](auto v) {
      launch("norm_backward_block", norm_backward_block<T, rms, v()>, blocks, row_threads(a.cols, v()), 0, a, partial);
    };
    aligned ? run(Int<4>{}) : run(Int<1>{});
  }
}

}  // namespace

void norm_backward(const NormBackwardArgs& a) {
  if (a.cols == 0) return;
  const unsigned blocks = static_cast<unsigned>(norm_backward_blocks(a));
  float* const partial = a.dw || a.db ? static_cast<float*>(a.workspace) : nullptr;
  if (blocks)
    dispatch_float(a.type, [&](auto type) {
      using T = decltype(type);
      a.rms ? rows_as<T, true>(a, blocks, partial) : rows_as<T, false>(a, blocks, partial);
    });
  if (a.dw || a.db)
    launch("norm_backward_sum", norm_backward_sum, dim3(static_cast<unsigned>((a.cols + 31) / 32), 2), 32 * kPartGroups, 0, partial,
           static_cast<int>(blocks), a.cols, a.dw, a.db, a.accumulate_dw, a.accumulate_db);
}

}  // namespace heddle::cuda
