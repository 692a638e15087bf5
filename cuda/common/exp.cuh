#pragma once
// The exponential of a softmax, as exact as the storage type deserves, and sums of exponentials that find their maximum on the way.
#include "common/reduce.cuh"
#include "common/types.cuh"

namespace heddle::cuda {

// 2^x by ex2.approx, denormal results 0; 2^-inf is 0.
__device__ inline float exp2_fast(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

// e^x. f32: within 2 ulp. bf16 and f16: one multiplication and one ex2.approx, off by about 1e-7 * (1 + |x|).
template <class T>
__device__ inline float exp_for(float x) {
  if constexpr (sizeof(T) == 4) {
    return expf(x);
  } else {
    return exp2_fast(x * 1.44269504088896341f);
  }
}

constexpr float kNegativeInfinity = -__builtin_huge_valf();

// max: the greatest x so far; sum: of e^(x - max), of e^x (0 or NaN) while max is -inf.
struct ExpSum {
  float max = kNegativeInfinity;
  float sum = 0;
};

// One more vector of elements, rescaling at most once.
template <class T, int V>
__device__ inline void add_exps(ExpSum& s, const float (&x)[V]) {
  float max = x[0];
#pragma unroll
  for (int j = 1; j < V; ++j) max = fmaxf(max, x[j]);
  if (max > s.max) {
    s.sum *= exp_for<T>(s.max - max);  // nothing so far: 0 * e^-inf
    s.max = max;
  }
  const float from = s.max == kNegativeInfinity ? 0.0f : s.max;
  float sum = 0;
#pragma unroll
  for (int j = 0; j < V; ++j) sum += exp_for<T>(x[j] - from);
  s.sum += sum;
}

// Of the whole block, for every thread. `scratch` as in block_reduce.
template <class T>
__device__ inline ExpSum block_exps(const ExpSum& s, float* scratch) {
  ExpSum all;
  all.max = block_reduce<Max>(s.max, scratch);
  all.sum = block_reduce<Add>(s.max == kNegativeInfinity ? s.sum : s.sum * exp_for<T>(s.max - all.max), scratch);
  return all;
}

}  // namespace heddle::cuda
