// Dropout with the CPU's own random bits: an element's fate depends on (seed, step, stream, its index) alone, so the backward pass
// draws the same mask again by running on the gradient.
#include "common/dense.cuh"
#include "kernels.h"

namespace heddle::cuda {
namespace {

constexpr int kBlock = 256;

struct Keep {
  const RandomState* random;
  uint32_t stream, threshold;
  float scale;
  bool some;  // p = 1: the threshold leaves 2^-32 of them
};

__device__ inline Random4 draw(const RandomState& r, const Keep& k, int64_t block) {
  return philox(r.seed_low, r.seed_high, static_cast<uint64_t>(block), k.stream, r.step);
}

template <class T>
__device__ inline T kept(T x, uint32_t bits, const Keep& k, bool accumulate, T old) {
  const float y = k.some && bits >= k.threshold ? to_float(x) * k.scale : 0.0f;
  return from_float<T>(accumulate ? to_float(old) + y : y);
}

template <class T>
__global__ void __launch_bounds__(kBlock) dropout_kernel(Dense d, Keep k, const T* x, T* y, bool accumulate) {
  constexpr int V = kVector<T>;
  const DensePlace p = dense_place<V, kBlock>(d);
  if (!p.inside) return;
  const RandomState r = *k.random;
  if (p.vector) {
    Vector<T, V> v = load_vector(x + p.at), old{};
    if (accumulate) old = load_vector(y + p.at);
#pragma unroll
    for (int j = 0; j < V; j += 4) {
      const Random4 bits = draw(r, k, (p.at + j) / 4);
#pragma unroll
      for (int w = 0; w < 4; ++w) v.x[j + w] = kept(v.x[j + w], bits.x[w], k, accumulate, old.x[j + w]);
    }
    store_vector(y + p.at, v);
  } else {
    const Random4 bits = draw(r, k, p.at / 4);
    const int w = static_cast<int>(p.at % 4);
    const uint32_t mine = w == 0 ? bits.x[0] : w == 1 ? bits.x[1] : w == 2 ? bits.x[2] : bits.x[3];
    y[p.at] = kept(x[p.at], mine, k, accumulate, accumulate ? y[p.at] : T{});
  }
}

}  // namespace

void dropout(const DropoutArgs& a) {
  if (a.n == 0) return;
  const bool some = a.p < 1;
  const Keep keep{a.random, a.stream, drop_threshold(a.p), some ? 1.0f / (1.0f - a.p) : 0.0f, some};
  dispatch_float(a.type, [&](auto t) {
    using T = decltype(t);
    const Dense d(a.n, kVector<T>, aligned16(a.x) && aligned16(a.y));
    launch("dropout", dropout_kernel<T>, blocks_for(d.items, kBlock), kBlock, 0, d, keep, static_cast<const T*>(a.x), static_cast<T*>(a.y),
           a.accumulate);
  });
}

}  // namespace heddle::cuda
