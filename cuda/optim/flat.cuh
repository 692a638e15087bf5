#pragma once
// Steps over flat buffers: a thread takes eight elements of each at a time, by 16 bytes where the buffers are aligned.
#include "common/types.cuh"
#include "core/step_state.h"
#include "runtime/launch.cuh"

namespace heddle::cuda {

constexpr int kFlat = 8;  // elements of a thread at a time
constexpr int kFlatThreads = 256;
constexpr int kFlatBlocks = 8;  // per multiprocessor; they stride over the rest

// Elements [i, i + kFlat) of p; 0 from n on. Blocks of four, eight of a 2-byte type, are one access.
__device__ inline void load_flat(const float* p, int64_t i, int64_t n, bool aligned, float (&x)[kFlat]) {
  if (aligned && i + kFlat <= n) {
    const Vector<float, 4> low = load_vector<float, 4>(p + i), high = load_vector<float, 4>(p + i + 4);
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      x[j] = low.x[j];
      x[4 + j] = high.x[j];
    }
  } else {
#pragma unroll
    for (int j = 0; j < kFlat; ++j) x[j] = i + j < n ? p[i + j] : 0.0f;
  }
}

template <class T>
__device__ inline void store_flat(T* p, int64_t i, int64_t n, bool aligned, const float (&x)[kFlat]) {
  if (aligned && i + kFlat <= n) {
    constexpr int V = kVector<T>;
#pragma unroll
    for (int k = 0; k < kFlat; k += V) {
      Vector<T, V> part;
#pragma unroll
      for (int j = 0; j < V; ++j) part.x[j] = from_float<T>(x[k + j]);
      store_vector<T, V>(p + i + k, part);
    }
  } else {
#pragma unroll
    for (int j = 0; j < kFlat; ++j)
      if (i + j < n) p[i + j] = from_float<T>(x[j]);
  }
}

// f(i) for the groups of this thread: elements [i, i + kFlat).
template <class F>
__device__ inline void each_group(int64_t n, F&& f) {
  const int64_t stride = static_cast<int64_t>(gridDim.x) * kFlatThreads * kFlat;
  for (int64_t i = (static_cast<int64_t>(blockIdx.x) * kFlatThreads + threadIdx.x) * kFlat; i < n; i += stride) f(i);
}

inline unsigned flat_blocks(int64_t n) { return blocks_for(n, kFlatThreads * kFlat, kFlatBlocks); }

__device__ inline float gradient_scale(const StepState& s) { return s.clip / s.loss_scale; }

// 1 - lr * weight_decay
__device__ inline float shrink(const StepState& s, float weight_decay) {
  return static_cast<float>(1 - static_cast<double>(s.lr) * static_cast<double>(weight_decay));
}

}  // namespace heddle::cuda
