#pragma once
// What both passes of attention's gradient on Hopper work with, and what they need of every query: kernels and launcher of that too.
#include "attention/hopper.cuh"
#include "common/reduce.cuh"

namespace heddle::cuda {

struct BackwardProblem {
  AttentionMask mask;
  AttentionDropout dropout;
  AttentionUnits units;
  HeadsOutput dq, dk, dv;
  const float* sums;  // [B][H][padded / 64][2][64] of queries: log2(e) lse, +inf for who sees nothing and behind Tq; delta
  int padded;         // Tq in whole tiles
  int H, group;
  float scale, scale_log2;

  // Query's lse; its delta follows 64 places on.
  __device__ const float* sums_of(int b, int h, int query) const {
    return sums + sums_place((static_cast<int64_t>(b) * H + h) * padded + query);
  }
  static __host__ __device__ int64_t sums_place(int64_t row) { return row / 64 * 128 + row % 64; }
  __device__ int64_t element(int b, int h, int query) const { return ((static_cast<int64_t>(b) * H + h) * mask.Tq + query) * mask.Tk; }
};

// Of o and dO.
struct DeltaProblem {
  const void *o, *d_o;
  const float* lse;
  float* sums;
  int64_t o_stride[3], do_stride[3];  // of B, T, H
  int H, Tq, padded;
};

// A warp has 256 / D rows.
template <class T, int D>
__global__ void __launch_bounds__(256) attention_delta_hopper_kernel(const __grid_constant__ DeltaProblem p, int64_t rows) {
  constexpr int kLanes = D / 8;  // of a row
  const int64_t index = static_cast<int64_t>(blockIdx.x) * (256 / kLanes) + threadIdx.x / kLanes;
  if (index >= rows) return;  // rows are whole tiles: no warp is cut
  const int part = threadIdx.x % kLanes * 8, query = static_cast<int>(index % p.padded);
  const int64_t head = index / p.padded, b = head / p.H, h = head % p.H;
  float delta = 0;
  if (query < p.Tq) {
    const auto o = load_vector<T>(static_cast<const T*>(p.o) + b * p.o_stride[0] + query * p.o_stride[1] + h * p.o_stride[2] + part);
    const auto g = load_vector<T>(static_cast<const T*>(p.d_o) + b * p.do_stride[0] + query * p.do_stride[1] + h * p.do_stride[2] + part);
#pragma unroll
    for (int j = 0; j < 8; ++j) delta = fmaf(to_float(o.x[j]), to_float(g.x[j]), delta);
  }
#pragma unroll
  for (int offset = kLanes / 2; offset > 0; offset /= 2) delta += __shfl_xor_sync(0xffffffffu, delta, offset);
  if (part != 0) return;
  const float lse = query < p.Tq ? p.lse[head * p.Tq + query] : kNoScore;
  float* to = p.sums + BackwardProblem::sums_place(index);
  to[0] = lse == kNoScore ? -kNoScore : lse * kLog2E;
  to[64] = delta;
}

}  // namespace heddle::cuda
