// Fills of any strides and type.
#include "common/convert.cuh"
#include "common/strided.cuh"
#include "kernels.h"

namespace heddle::cuda {
namespace {

template <class T>
__global__ void __launch_bounds__(kThreads) fill_kernel(const __grid_constant__ Strided<1> s, T* dst, T value) {
  constexpr int V = kVector<T>;
  const uint32_t item = blockIdx.x * kThreads + threadIdx.x;
  if (item >= s.items) return;
  const Place<1> p = place<V>(s, item);
  if (p.vector) {
    Vector<T, V> v;
#pragma unroll
    for (int j = 0; j < V; ++j) v.x[j] = value;
    store_vector(dst + p.at[0], v);
  } else {
    dst[p.at[0]] = value;
  }
}

template <class T>
void run(const View& dst, T value) {
  each_strided(kVector<T>, Nest<1>({&dst}), {dst.data}, {sizeof(T)}, [&](const Strided<1>& s, const int64_t (&offset)[1]) {
    launch("fill", fill_kernel<T>, blocks_for(s.items, kThreads), kThreads, 0, s, static_cast<T*>(dst.data) + offset[0], value);
  });
}

// As the CPU rounds: not through f32 to i32, whose 24 bits would round, nor a tiny value to 0 for bool.
int32_t to_i32(double v) { return v != v ? 0 : v >= 0x1p31 ? INT32_MAX : v <= -0x1p31 ? INT32_MIN : static_cast<int32_t>(v); }
uint8_t to_u8(float v) { return v > 0 ? static_cast<uint8_t>(v < 255 ? v : 255.0f) : 0; }  // NaN becomes 0

}  // namespace

void fill(const FillArgs& a) {
  const auto value = static_cast<float>(a.value);
  switch (a.dst.dtype) {
    case DType::f32:
      return run<float>(a.dst, value);
    case DType::bf16:
      return run<bf16>(a.dst, __float2bfloat16_rn(value));
    case DType::f16:
      return run<f16>(a.dst, __float2half_rn(value));
    case DType::i32:
      return run<int32_t>(a.dst, to_i32(a.value));
    case DType::u8:
      return run<uint8_t>(a.dst, to_u8(value));
    case DType::boolean:
      return run<uint8_t>(a.dst, a.value != 0 ? 1 : 0);
  }
}

}  // namespace heddle::cuda
