// fp8 (core/fp8.h), the CPU's codes (native/cpu/fp8.cc). A maximum does not depend on the order in which it is taken.
#include "common/dense.cuh"
#include "common/reduce.cuh"
#include "core/fp8.h"
#include "kernels.h"
#include "ptx/fp8.cuh"
#include "workspace.h"

namespace heddle::cuda {
namespace {

constexpr int kBlock = 256;
constexpr int kCodes = 16;  // of a thread, where there are many

template <class T>
__device__ inline void load_floats(const T* p, float (&v)[kVector<T>]) {
  const auto part = load_vector(p);
#pragma unroll
  for (int j = 0; j < kVector<T>; ++j) v[j] = to_float(part.x[j]);
}

// most[block]: the largest absolute value of what the block walks over. fmaxf leaves NaN out.
template <class T>
__global__ void __launch_bounds__(kBlock) fp8_largest_kernel(Dense d, const T* x, float* most) {
  __shared__ float scratch[32];
  float largest = 0;
  for (int64_t item = int64_t{blockIdx.x} * kBlock + threadIdx.x; item < d.items; item += int64_t{gridDim.x} * kBlock) {
    if (item < d.vectors) {
      float v[kVector<T>];
      load_floats(x + item * kVector<T>, v);
#pragma unroll
      for (int i = 0; i < kVector<T>; ++i) largest = fmaxf(largest, fabsf(v[i]));
    } else {
      largest = fmaxf(largest, fabsf(to_float(x[item + d.vectors * (kVector<T> - 1)])));
    }
  }
  largest = block_reduce<Max>(largest, scratch);
  if (threadIdx.x == 0) most[blockIdx.x] = largest;
}

template <FP8 Format, class T>
__global__ void __launch_bounds__(kBlock)
    fp8_codes_kernel(Dense d, const T* x, const float* most, int parts, uint8_t* codes, float* scale_out) {
  __shared__ float scratch[32];
  float largest = 0;
  for (int i = threadIdx.x; i < parts; i += kBlock) largest = fmaxf(largest, most[i]);
  const float scale = fp8_scale(Format, block_reduce<Max>(largest, scratch));
  if (blockIdx.x == 0 && threadIdx.x == 0) *scale_out = scale;
  constexpr int V = kVector<T>;
#pragma unroll 1  // registers that divisions call for would spill on sm_100
  for (int64_t item = int64_t{blockIdx.x} * kBlock + threadIdx.x; item < d.items; item += int64_t{gridDim.x} * kBlock) {
    if (item < d.vectors) {
      float v[V];
      load_floats(x + item * V, v);
      Vector<uint16_t, V / 2> pairs;
#pragma unroll
      for (int i = 0; i < V / 2; ++i) pairs.x[i] = ptx::fp8_pair<Format>(v[2 * i] / scale, v[2 * i + 1] / scale);
      store_vector<uint16_t, V / 2>(reinterpret_cast<uint16_t*>(codes + item * V), pairs);
    } else {
      const int64_t at = item + d.vectors * (V - 1);
      codes[at] = static_cast<uint8_t>(ptx::fp8_pair<Format>(to_float(x[at]) / scale, 0));
    }
  }
}

template <FP8 Format, class T>
__global__ void __launch_bounds__(kBlock) fp8_values_kernel(Dense d, const uint8_t* codes, const float* scale, T* out) {
  constexpr int V = kVector<T>;
  const DensePlace p = dense_place<V, kBlock>(d);
  if (!p.inside) return;
  const float factor = scale ? *scale : 1;
  if (p.vector) {
    const auto from = load_vector<uint8_t, V>(codes + p.at);
    Vector<T, V> v;
#pragma unroll
    for (int i = 0; i < V; ++i) v.x[i] = from_float<T>(fp8_value(Format, from.x[i]) * factor);
    store_vector(out + p.at, v);
  } else {
    out[p.at] = from_float<T>(fp8_value(Format, codes[p.at]) * factor);
  }
}

// f(number of the format, T{}): launchers choose their instantiation once.
template <class F>
void dispatch(FP8 format, DType type, F&& f) {
  dispatch_float(type, [&](auto t) {
    if (format == FP8::e4m3)
      f(std::integral_constant<FP8, FP8::e4m3>(), t);
    else
      f(std::integral_constant<FP8, FP8::e5m2>(), t);
  });
}

}  // namespace

void fp8_quantize(const FP8QuantizeArgs& a) {
  dispatch(a.format, a.type, [&](auto format, auto t) {
    using T = decltype(t);
    const T* const x = static_cast<const T*>(a.x);
    float* const most = static_cast<float*>(a.workspace);
    const int parts = static_cast<int>(fp8_parts(a.n));
    const bool aligned = aligned16(x);
    launch("fp8_largest", fp8_largest_kernel<T>, static_cast<unsigned>(parts), kBlock, 0, Dense(a.n, kVector<T>, aligned), x, most);
    const Dense d(a.n, kVector<T>, aligned && aligned16(a.codes));
    launch("fp8_codes", fp8_codes_kernel<decltype(format)::value, T>, blocks_for(d.items, kBlock * kCodes / kVector<T>), kBlock, 0, d, x,
           most, parts, a.codes, a.scale);
  });
}

void fp8_dequantize(const FP8DequantizeArgs& a) {
  dispatch(a.format, a.type, [&](auto format, auto t) {
    using T = decltype(t);
    const Dense d(a.n, kVector<T>, aligned16(a.codes) && aligned16(a.out));
    launch("fp8_values", fp8_values_kernel<decltype(format)::value, T>, blocks_for(d.items, kBlock), kBlock, 0, d, a.codes, a.scale,
           static_cast<T*>(a.out));
  });
}

}  // namespace heddle::cuda
