// Rows of scores to probabilities and back; a warp per row, and an
// element is one lane's from first to last, so that results may lie in the scores' place. Columns from Tk to `ld` are written as 0: matmuls
// may read whole vectors.
#include <algorithm>

#include "attention/rows.cuh"
#include "attention/rows.h"
#include "common/exp.cuh"
#include "runtime/launch.cuh"

namespace heddle::cuda {
namespace {

constexpr int kWarps = 8;

// p = dropout(softmax(scale * scores)); lse. p may be scores.
template <class T>
__global__ void __launch_bounds__(32 * kWarps, 2)
    attention_softmax_kernel(AttentionShape s, AttentionPart part, const float* scores, T* p, float* lse, int64_t ld, int64_t rows) {
  const int lane = threadIdx.x % 32;
  const Dropout dropout(s);
  for (int64_t row = static_cast<int64_t>(blockIdx.x) * kWarps + threadIdx.x / 32; row < rows;
       row += static_cast<int64_t>(gridDim.x) * kWarps) {
    const ScoreRow at(s, part, row);
    const float* x = scores + row * ld;
    T* y = p + row * ld;
    ExpSum mine;
    for (int64_t j = at.keys.low / 32 * 32 + lane; j < at.keys.high; j += 32) {
      const float score[1] = {x[j] * s.scale};
      if (at.sees(j)) add_exps<float>(mine, score);
    }
    const float max = warp_reduce<Max>(mine.max);
    const float sum = warp_reduce<Add>(mine.max == kNegativeInfinity ? 0.0f : mine.sum * expf(mine.max - max));
    const float factor = sum == 0.0f ? 0.0f : 1.0f / sum;
#pragma unroll 1
    for (int64_t j = lane; j < ld; j += 32) {
      float v = 0;
      if (at.sees(j) && sum != 0.0f) v = expf(x[j] * s.scale - max) * factor * dropout.keep(at.first_element + j);
      y[j] = from_float<T>(v);
    }
    if (lane == 0) lse[at.query(s)] = sum == 0.0f ? kNegativeInfinity : max + logf(sum);
  }
}

// P and dS of a row from its scores, dP = dO V^T and lse: with k = 0 or 1 / (1 - p) of dropout and delta = sum_d o dO,
//   p = e^(scale * score - lse);  P = k p;  dS = scale * p (k dP - delta)
// P may be the scores, dS may be dP.
template <class T>
__global__ void __launch_bounds__(32 * kWarps, 2)
    attention_gradient_kernel(AttentionShape s, AttentionPart part, AttentionRows<T> a, const float* scores, const float* dp, T* p, T* ds,
                              int64_t ld, int64_t rows) {
  const int lane = threadIdx.x % 32;
  const Dropout dropout(s);
  for (int64_t row = static_cast<int64_t>(blockIdx.x) * kWarps + threadIdx.x / 32; row < rows;
       row += static_cast<int64_t>(gridDim.x) * kWarps) {
    const ScoreRow at(s, part, row);
    const T* o = a.o + at.b * a.o_stride[0] + at.i * a.o_stride[1] + at.h * a.o_stride[2];
    const T* d_o = a.d_o + at.b * a.do_stride[0] + at.i * a.do_stride[1] + at.h * a.do_stride[2];
    float delta = 0;
    for (int64_t d = lane; d < s.D; d += 32) delta = fmaf(to_float(o[d]), to_float(d_o[d]), delta);
    delta = warp_reduce<Add>(delta);
    const float lse = a.lse[at.query(s)];
#pragma unroll 1
    for (int64_t j = lane; j < ld; j += 32) {
      float kept = 0, gradient = 0;
      if (lse != kNegativeInfinity && at.sees(j)) {
        const float probability = expf(scores[row * ld + j] * s.scale - lse), k = dropout.keep(at.first_element + j);
        kept = probability * k;
        gradient = probability * (dp[row * ld + j] * k - delta) * s.scale;
      }
      p[row * ld + j] = from_float<T>(kept);
      ds[row * ld + j] = from_float<T>(gradient);
    }
  }
}

// y[row] (+)= x[row], rows of D: x dense [batches][key heads][Tk][D], y strided by B, T, H.
template <class T>
__global__ void __launch_bounds__(256)
    attention_add_kernel(const float* x, T* y, RowStrides strides, int64_t heads, int64_t Tk, int64_t D, bool accumulate, int64_t n) {
  for (int64_t e = static_cast<int64_t>(blockIdx.x) * 256 + threadIdx.x; e < n; e += static_cast<int64_t>(gridDim.x) * 256) {
    const int64_t d = e % D, row = e / D, j = row % Tk, h = row / Tk % heads, b = row / Tk / heads;
    T* to = y + b * strides.x[0] + j * strides.x[1] + h * strides.x[2] + d;
    *to = from_float<T>(accumulate ? to_float(*to) + x[e] : x[e]);
  }
}

}  // namespace

void launch_attention_softmax(const AttentionShape& s, const AttentionPart& part, const float* scores, void* p, float* lse, int64_t ld) {
  const int64_t rows = part.rows(s);
  dispatch_float(s.type, [&](auto zero) {
    using T = decltype(zero);
    launch("attention softmax", attention_softmax_kernel<T>, blocks_for(rows, kWarps), 32 * kWarps, 0, s, part, scores, static_cast<T*>(p),
           lse, ld, rows);
  });
}

void launch_attention_gradient(const AttentionBackwardArgs& a, const AttentionPart& part, const float* scores, const float* dp, void* p,
                               void* ds, int64_t ld) {
  const int64_t rows = part.rows(a.s);
  dispatch_float(a.s.type, [&](auto zero) {
    using T = decltype(zero);
    AttentionRows<T> r{static_cast<const T*>(a.o), static_cast<const T*>(a.d_o), a.lse, {}, {}};
    std::copy_n(a.o_stride, 3, r.o_stride);
    std::copy_n(a.do_stride, 3, r.do_stride);
    launch("attention gradient of scores", attention_gradient_kernel<T>, blocks_for(rows, kWarps), 32 * kWarps, 0, a.s, part, r, scores, dp,
           static_cast<T*>(p), static_cast<T*>(ds), ld, rows);
  });
}

void launch_attention_add(DType type, const float* x, void* y, const RowStrides& strides, int64_t batches, int64_t heads, int64_t Tk,
                          int64_t D, bool accumulate) {
  const int64_t n = batches * heads * Tk * D;
  dispatch_float(type, [&](auto zero) {
    using T = decltype(zero);
    launch("attention sum of heads", attention_add_kernel<T>, blocks_for(n, 256, 8), 256, 0, x, static_cast<T*>(y), strides, heads, Tk, D,
           accumulate, n);
  });
}

}  // namespace heddle::cuda
