// CuTensorMapEncodeTiled, with the checks of the driver API manual.
#include "sim/cuda/tensormap.h"

#include <cstdio>

#include "sim/cuda/runtime.h"

namespace sim {

static CUresult reject(const char* why) {
  fprintf(stderr, "sim: cuTensorMapEncodeTiled: %s\n", why);
  return CUDA_ERROR_INVALID_VALUE;
}

CUresult encode_tiled(CUtensorMap* map, CUtensorMapDataType type, cuuint32_t rank, void* address, const cuuint64_t* dims,
                      const cuuint64_t* strides, const cuuint32_t* box, const cuuint32_t* element_strides, CUtensorMapInterleave interleave,
                      CUtensorMapSwizzle swizzle, CUtensorMapL2promotion, CUtensorMapFloatOOBfill fill) {
  // CUtensorMapDataType to PTX's numbers (9.7.9 tensormap.replace).
  constexpr uint8_t types[] = {0, 1, 2, 3, 4, 5, 6, 7, 9, 10, 8, 11, 12};
  if (unsigned(type) >= sizeof types) return reject("data type");
  TensorMap m{};
  m.element_type = types[type];
  if (rank < 1 || rank > 5) return reject("rank");
  if (interleave != CU_TENSOR_MAP_INTERLEAVE_NONE) return reject("interleave is not supported by the simulator");
  if (unsigned(swizzle) > CU_TENSOR_MAP_SWIZZLE_128B) return reject("swizzle mode");
  m.swizzle_mode = uint8_t(swizzle);
  m.rank_less_1 = uint8_t(rank - 1);
  m.fill_mode = fill == CU_TENSOR_MAP_FLOAT_OOB_FILL_NAN_REQUEST_ZERO_FMA;
  m.base = reinterpret_cast<uint64_t>(address);
  if (m.base % 16) return reject("global address is not a multiple of 16");
  for (cuuint32_t k = 0; k < rank; ++k) {
    if (dims[k] == 0 || dims[k] > 1ull << 32) return reject("dimension");
    if (box[k] == 0 || box[k] > 256) return reject("box dimension above 256");
    if (element_strides[k] != 1) return reject("element stride is not 1");
    m.dims[k] = dims[k];
    m.box[k] = uint16_t(box[k]);
    m.element_strides[k] = 1;
    if (k + 1 < rank) {
      if (strides[k] % 16 || strides[k] >= 1ull << 40) return reject("global stride is not a multiple of 16");
      m.strides[k] = strides[k];
    }
  }
  const uint32_t inner = box[0] * m.element_bytes();
  if (inner % 16) return reject("inner box dimension is not a multiple of 16 bytes");
  if (m.swizzle_mode && inner > m.swizzle_bytes()) return reject("inner box dimension exceeds the swizzle size");
  memset(map, 0, sizeof *map);
  memcpy(map, &m, sizeof m);
  return CUDA_SUCCESS;
}

}  // namespace sim
