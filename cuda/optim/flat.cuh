#pragma once
// Steps over flat buffers: a thread takes two pieces of four elements of each at a time, by 16 bytes (8 of a 2-byte type) where the buffers
// are aligned. The pieces of a block's threads lie side by side, so that whatever the types are, an access of a warp touches no more
// sectors than it has bytes for.
#include "common/types.cuh"
#include "core/random.h"
#include "core/step_state.h"
#include "runtime/launch.cuh"

namespace heddle::cuda {

constexpr int kPiece = 4;  // neighbouring elements; random numbers come by as many
constexpr int kFlat = 8;   // elements of a thread at a time
constexpr int kFlatThreads = 256;
constexpr int kFlatBlocks = 8;                    // per multiprocessor; they stride over the rest
constexpr int kFlatStep = kPiece * kFlatThreads;  // from a thread's piece to its next
static_assert(kPiece == 16 / sizeof(float));

// The elements that a thread takes at a time.
struct FlatPlace {
  int64_t first, n;
  bool whole;  // all of them there, and aligned

  __device__ FlatPlace(int64_t i, int64_t count, bool aligned)
      : first(i), n(count), whole(aligned && i + (kFlat / kPiece - 1) * kFlatStep + kPiece <= count) {}
  // Of element j.
  __device__ int64_t at(int j) const { return first + j / kPiece * kFlatStep + j % kPiece; }
};

// 0 from n on.
template <class T>
__device__ inline void load_flat(const T* p, const FlatPlace& place, float (&x)[kFlat]) {
  if (place.whole) {
    Vector<T, kPiece> part[kFlat / kPiece];
#pragma unroll
    for (int k = 0; k < kFlat / kPiece; ++k) part[k] = load_vector<T, kPiece>(p + place.at(k * kPiece));
#pragma unroll
    for (int j = 0; j < kFlat; ++j) x[j] = to_float(part[j / kPiece].x[j % kPiece]);
  } else {
#pragma unroll
    for (int j = 0; j < kFlat; ++j) x[j] = place.at(j) < place.n ? to_float(p[place.at(j)]) : 0.0f;
  }
}

template <class T>
__device__ inline void store_flat(T* p, const FlatPlace& place, const float (&x)[kFlat]) {
  if (place.whole) {
#pragma unroll
    for (int k = 0; k < kFlat; k += kPiece) {
      Vector<T, kPiece> part;
#pragma unroll
      for (int j = 0; j < kPiece; ++j) part.x[j] = from_float<T>(x[k + j]);
      store_vector<T, kPiece>(p + place.at(k), part);
    }
  } else {
#pragma unroll
    for (int j = 0; j < kFlat; ++j)
      if (place.at(j) < place.n) p[place.at(j)] = from_float<T>(x[j]);
  }
}

// The words of the elements of a place.
struct FlatBits {
  Random4 words[kFlat / kPiece];

  __device__ FlatBits(uint32_t seed_low, uint32_t seed_high, uint32_t stream, uint32_t step, const FlatPlace& place) {
#pragma unroll
    for (int k = 0; k < kFlat / kPiece; ++k)
      words[k] = philox(seed_low, seed_high, static_cast<uint64_t>(place.at(k * kPiece)) / kPiece, stream, step);
  }
};

// Elements rounded to bf16 with those of their random bits that begin at bit `shift`: what a store then rounds is bf16 already.
template <int shift>
__device__ inline void round_flat(const FlatBits& bits, float (&x)[kFlat]) {
#pragma unroll
  for (int j = 0; j < kFlat; ++j)
    x[j] = __uint_as_float(round_at_random(__float_as_uint(x[j]), bits.words[j / kPiece].x[j % kPiece] >> shift) << 16);
}

// f(place) for the places of this thread.
template <class F>
__device__ inline void each_place(int64_t n, bool aligned, F&& f) {
  const int64_t stride = static_cast<int64_t>(gridDim.x) * kFlatThreads * kFlat;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * kFlatThreads * kFlat + threadIdx.x * kPiece; i < n; i += stride)
    f(FlatPlace(i, n, aligned));
}

inline unsigned flat_blocks(int64_t n) { return blocks_for(n, kFlatThreads * kFlat, kFlatBlocks); }

__device__ inline float gradient_scale(const StepState& s) { return s.clip / s.loss_scale; }

// 1 - lr * weight_decay
__device__ inline float shrink(const StepState& s, float weight_decay) {
  return static_cast<float>(1 - static_cast<double>(s.lr) * static_cast<double>(weight_decay));
}

}  // namespace heddle::cuda
