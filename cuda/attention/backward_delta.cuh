#pragma once
// What backward needs of each query beside its scores, once.
#include "attention/fused.h"
#include "common/exp.cuh"

namespace heddle::cuda {

// What is known of a query: lse * log2 e, or +inf where P is 0, because nothing is seen or there is no such query; delta.
template <class T>
struct RowSums {
  HeadsOf<const T> o, d_o;
  const float* lse;
  float2* rows;
  int H, Tq, D, row_count;
  int64_t all;  // B * H * row_count
};

constexpr int kRowLanes = 8;  // of a row

template <class T>
__global__ void __launch_bounds__(256) attention_delta_kernel(const __grid_constant__ RowSums<T> p) {
  const int lane = threadIdx.x % kRowLanes;
  const int64_t row = static_cast<int64_t>(blockIdx.x) * (256 / kRowLanes) + threadIdx.x / kRowLanes;
  if (row >= p.all) return;  // whole warps: row_count is a multiple of 32
  const int i = static_cast<int>(row % p.row_count), bh = static_cast<int>(row / p.row_count);
  float delta = 0, lse = -kNegativeInfinity;
  if (i < p.Tq) {
    const auto o = p.o.head(bh / p.H, bh % p.H, p.Tq, p.D), d_o = p.d_o.head(bh / p.H, bh % p.H, p.Tq, p.D);
    for (int d = lane * 8; d < p.D; d += kRowLanes * 8) {
      const auto x = load_vector(o.data + i * o.stride + d), y = load_vector(d_o.data + i * d_o.stride + d);
#pragma unroll
      for (int j = 0; j < 8; ++j) delta = fmaf(to_float(x.x[j]), to_float(y.x[j]), delta);
    }
    const float natural = p.lse[static_cast<int64_t>(bh) * p.Tq + i];
    if (natural != kNegativeInfinity) lse = natural * kLog2e;
  }
#pragma unroll
  for (int offset = kRowLanes / 2; offset > 0; offset /= 2) delta += __shfl_xor_sync(0xffffffffu, delta, offset);
  if (lane == 0) p.rows[row] = {lse, delta};
}

}  // namespace heddle::cuda
