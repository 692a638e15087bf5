#pragma once
// Steps over flat buffers: a thread takes eight elements of each at a time, by 16 bytes where the buffers are aligned.
#include "common/types.cuh"
#include "core/random.h"
#include "core/step_state.h"
#include "runtime/launch.cuh"

namespace heddle::cuda {

constexpr int kFlat = 8;  // elements of a thread at a time
constexpr int kFlatThreads = 256;
constexpr int kFlatBlocks = 8;  // per multiprocessor; they stride over the rest

// Elements [i, i + kFlat) of p; 0 from n on. Blocks of four, eight of a 2-byte type, are one access.
template <class T>
__device__ inline void load_flat(const T* p, int64_t i, int64_t n, bool aligned, float (&x)[kFlat]) {
  if (aligned && i + kFlat <= n) {
    constexpr int V = kVector<T>;
    Vector<T, V> part[kFlat / V];
#pragma unroll
    for (int k = 0; k < kFlat / V; ++k) part[k] = load_vector<T, V>(p + i + k * V);
#pragma unroll
    for (int j = 0; j < kFlat; ++j) x[j] = to_float(part[j / V].x[j % V]);
  } else {
#pragma unroll
    for (int j = 0; j < kFlat; ++j) x[j] = i + j < n ? to_float(p[i + j]) : 0.0f;
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

// The words of elements [i, i + kFlat).
struct FlatBits {
  Random4 words[kFlat / 4];

  __device__ FlatBits(uint32_t seed_low, uint32_t seed_high, uint32_t stream, uint32_t step, int64_t i) {
#pragma unroll
    for (int k = 0; k < kFlat / 4; ++k) words[k] = philox(seed_low, seed_high, static_cast<uint64_t>(i) / 4 + k, stream, step);
  }
};

// Elements rounded to bf16 with those of their random bits that begin at bit `shift`: what a store then rounds is bf16 already.
template <int shift>
__device__ inline void round_flat(const FlatBits& bits, float (&x)[kFlat]) {
#pragma unroll
  for (int j = 0; j < kFlat; ++j) x[j] = __uint_as_float(round_at_random(__float_as_uint(x[j]), bits.words[j / 4].x[j % 4] >> shift) << 16);
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
