#pragma once
// Conversions between all element types, as the CPU converts (native/cpu/convert.h): to floats round to nearest even; floats to i32 and u8
// truncate and saturate, NaN becomes 0; i32 to u8 keeps the low 8 bits; to bool x != 0; i32 to bf16 and f16 goes through f32.
#include <type_traits>

#include "common/types.cuh"

namespace heddle::cuda {

struct Bool {
  uint8_t x;
};

template <class T>
constexpr bool kIsFloat = std::is_same_v<T, float> || std::is_same_v<T, bf16> || std::is_same_v<T, f16>;

template <class To, class From>
__device__ inline To convert(From x) {
  if constexpr (std::is_same_v<To, From>) {
    return x;
  } else if constexpr (std::is_same_v<From, Bool>) {
    return convert<To>(static_cast<uint8_t>(x.x != 0 ? 1 : 0));
  } else if constexpr (kIsFloat<From> && !std::is_same_v<From, float>) {
    return convert<To>(to_float(x));
  } else if constexpr (std::is_same_v<To, Bool>) {
    return Bool{static_cast<uint8_t>(x != 0 ? 1 : 0)};
  } else if constexpr (kIsFloat<To>) {
    return from_float<To>(static_cast<float>(x));
  } else if constexpr (std::is_same_v<From, float> && std::is_same_v<To, int32_t>) {
    return __float2int_rz(x);  // saturates, NaN becomes 0
  } else if constexpr (std::is_same_v<From, float>) {
    return static_cast<uint8_t>(__float2uint_rz(fminf(fmaxf(x, 0.0f), 255.0f)));  // fmaxf(NaN, 0) is 0
  } else {
    return static_cast<To>(x);
  }
}

// f(T{}) with the C++ type of an element type.
template <class F>
void dispatch_any(DType type, F&& f) {
  switch (type) {
    case DType::i32:
      return f(int32_t{});
    case DType::u8:
      return f(uint8_t{});
    case DType::boolean:
      return f(Bool{});
    default:
      return dispatch_float(type, f);
  }
}

}  // namespace heddle::cuda
