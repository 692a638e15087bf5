// Our contents of the opaque CUtensorMap (5.5 Tensors).
#pragma once

#include "sim/ptx/common.h"

namespace sim {

struct TensorMap {
  static constexpr uint32_t kMagic = 0x70614d54;
  uint32_t magic;
  uint8_t rank, element_bytes, swizzle_bytes, fill_nan;  // swizzle 0, 32, 64 or 128
  uint8_t data_type, reserved[7];
  uint64_t base;
  uint64_t dims[5];     // elements, innermost first
  uint64_t strides[5];  // bytes; strides[0] is the element size
  uint16_t box[5];
};
static_assert(sizeof(TensorMap) <= 128);

// The shared-memory swizzle: 16-byte chunk index ^= row bits (5.5.6 Swizzling Modes).
inline uint32_t swizzle(uint32_t address, uint32_t bytes) {
  return address ^ (address >> 3 & (bytes == 128 ? 0x70u : bytes == 64 ? 0x30u : bytes == 32 ? 0x10u : 0u));
}

}  // namespace sim
