#pragma once
// The element types of a tensor. Storage knows them all; the CPU computes in f32.
#include <cstddef>
#include <cstdint>

namespace heddle {

enum class DType : uint8_t { f32, bf16, f16, i32, u8, boolean };

constexpr int kDTypes = 6;

constexpr size_t size_of(DType t) {
  switch (t) {
    case DType::f32:
    case DType::i32:
      return 4;
    case DType::bf16:
    case DType::f16:
      return 2;
    case DType::u8:
    case DType::boolean:
      return 1;
  }
  return 0;
}

constexpr const char* name_of(DType t) {
  constexpr const char* names[kDTypes] = {"f32", "bf16", "f16", "i32", "u8", "bool"};
  return static_cast<unsigned>(t) < kDTypes ? names[static_cast<unsigned>(t)] : "?";
}

constexpr bool is_float(DType t) { return t == DType::f32 || t == DType::bf16 || t == DType::f16; }

}  // namespace heddle
