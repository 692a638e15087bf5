// Our contents of the opaque CUtensorMap (5.5 Tensors).
#pragma once

#include "sim/ptx/ptx.h"

namespace sim {

// Every field as tensormap.replace writes it; a map of zeros becomes valid by replacing the fields one by one.
struct TensorMap {
  uint64_t base;
  uint64_t dims[5];     // elements, innermost first
  uint64_t strides[4];  // bytes, of dimensions 1 to 4
  uint16_t box[5];
  uint8_t element_strides[5];
  uint8_t rank_less_1, element_type, interleave, swizzle_mode, fill_mode;  // in PTX's numbers

  uint32_t rank() const { return rank_less_1 + 1u; }
  ptx::Type type() const {
    using ptx::Type;
    constexpr Type types[] = {Type::u8,  Type::u16, Type::u32, Type::s32,  Type::u64,  Type::s64, Type::f16,
                              Type::f32, Type::f32, Type::f64, Type::bf16, Type::tf32, Type::tf32};
    return types[element_type];
  }
  uint32_t element_bytes() const { return uint32_t(ptx::bits(type())) / 8; }
  uint32_t swizzle_bytes() const { return swizzle_mode ? 16u << swizzle_mode : 0; }
  uint64_t stride(uint32_t k) const { return k ? strides[k - 1] : element_bytes(); }
  const char* defect() const {  // null: the map is well formed
    if (rank_less_1 > 4) return "rank";
    if (element_type > 12) return "element type";
    if (interleave) return "interleave layout (the simulator has none)";
    if (swizzle_mode > 3) return "swizzle mode";
    if (fill_mode > 1) return "fill mode";
    if (!base || base % 16) return "global address";
    for (uint32_t k = 0; k < rank(); ++k) {
      if (!dims[k]) return "global dimension";
      if (box[k] < 1 || box[k] > 256) return "box dimension";
      if (element_strides[k] != 1) return "element stride (the simulator has 1)";
      if (k && strides[k - 1] % 16) return "global stride";
    }
    return nullptr;
  }
};
static_assert(sizeof(TensorMap) <= 128);

// The shared-memory swizzle: 16-byte chunk index ^= row bits (5.5.6 Swizzling Modes).
inline uint32_t swizzle(uint32_t address, uint32_t bytes) {
  return address ^ (address >> 3 & (bytes == 128 ? 0x70u : bytes == 64 ? 0x30u : bytes == 32 ? 0x10u : 0u));
}

}  // namespace sim
