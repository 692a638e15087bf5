#pragma once
// Element types: storage in f32, bf16 or f16, arithmetic in f32; vectors of 16 bytes.
#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstdint>

#include "core/dtype.h"
#include "core/error.h"
#include "ptx/store.cuh"

namespace heddle::cuda {

using bf16 = __nv_bfloat16;
using f16 = __half;

__device__ inline float to_float(float x) { return x; }
__device__ inline float to_float(bf16 x) { return __bfloat162float(x); }
__device__ inline float to_float(f16 x) { return __half2float(x); }

template <class T>
__device__ inline T from_float(float x);  // rounds to nearest even
template <>
__device__ inline float from_float<float>(float x) {
  return x;
}
template <>
__device__ inline bf16 from_float<bf16>(float x) {
  return __float2bfloat16_rn(x);
}
template <>
__device__ inline f16 from_float<f16>(float x) {
  return __float2half_rn(x);
}

// N elements that one thread loads or stores at once; aligned to their size, 16 bytes where N is kVector<T>.
template <class T, int N>
struct alignas(sizeof(T) * N) Vector {
  T x[N];
};
template <class T>
constexpr int kVector = 16 / sizeof(T);

template <class T, int N = kVector<T>>
__device__ inline Vector<T, N> load_vector(const T* p) {
  return *reinterpret_cast<const Vector<T, N>*>(p);
}
// To global memory.
template <class T, int N = kVector<T>>
__device__ inline void store_vector(T* p, const Vector<T, N>& v) {
  if constexpr (sizeof(v) == 16)
    ptx::store_global(p, __builtin_bit_cast(uint4, v));
  else
    *reinterpret_cast<Vector<T, N>*>(p) = v;
}
// To shared memory.
template <class T, int N>
__device__ inline void keep_vector(T* p, const Vector<T, N>& v) {
  if constexpr (sizeof(v) == 16)
    ptx::store_shared(p, __builtin_bit_cast(uint4, v));
  else
    *reinterpret_cast<Vector<T, N>*>(p) = v;
}

inline bool aligned16(const void* p) { return reinterpret_cast<uintptr_t>(p) % 16 == 0; }

// f(T{}) with the C++ type of a float dtype: launchers choose their instantiation once.
template <class F>
void dispatch_float(DType type, F&& f) {
  switch (type) {
    case DType::f32:
      return f(float{});
    case DType::bf16:
      return f(bf16{});
    case DType::f16:
      return f(f16{});
    default:
      throw OpError(std::string("a CUDA kernel got ") + name_of(type) + " where a float type is needed", ErrorCode::internal);
  }
}

}  // namespace heddle::cuda
