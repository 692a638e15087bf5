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
  TensorMap m{};
  m.magic = TensorMap::kMagic;
  switch (type) {
    case CU_TENSOR_MAP_DATA_TYPE_UINT8:
      m.element_bytes = 1;
      break;
    case CU_TENSOR_MAP_DATA_TYPE_UINT16:
    case CU_TENSOR_MAP_DATA_TYPE_FLOAT16:
    case CU_TENSOR_MAP_DATA_TYPE_BFLOAT16:
      m.element_bytes = 2;
      break;
    case CU_TENSOR_MAP_DATA_TYPE_UINT64:
    case CU_TENSOR_MAP_DATA_TYPE_INT64:
    case CU_TENSOR_MAP_DATA_TYPE_FLOAT64:
      m.element_bytes = 8;
      break;
    case CU_TENSOR_MAP_DATA_TYPE_UINT32:
    case CU_TENSOR_MAP_DATA_TYPE_INT32:
    case CU_TENSOR_MAP_DATA_TYPE_FLOAT32:
    case CU_TENSOR_MAP_DATA_TYPE_FLOAT32_FTZ:
    case CU_TENSOR_MAP_DATA_TYPE_TFLOAT32:
    case CU_TENSOR_MAP_DATA_TYPE_TFLOAT32_FTZ:
      m.element_bytes = 4;
      break;
    default:
      return reject("data type");
  }
  m.data_type = uint8_t(type);
  if (rank < 1 || rank > 5) return reject("rank");
  if (interleave != CU_TENSOR_MAP_INTERLEAVE_NONE) return reject("interleave is not supported by the simulator");
  switch (swizzle) {
    case CU_TENSOR_MAP_SWIZZLE_NONE:
      break;
    case CU_TENSOR_MAP_SWIZZLE_32B:
      m.swizzle_bytes = 32;
      break;
    case CU_TENSOR_MAP_SWIZZLE_64B:
      m.swizzle_bytes = 64;
      break;
    case CU_TENSOR_MAP_SWIZZLE_128B:
      m.swizzle_bytes = 128;
      break;
    default:
      return reject("swizzle mode");
  }
  m.rank = uint8_t(rank);
  m.fill_nan = fill == CU_TENSOR_MAP_FLOAT_OOB_FILL_NAN_REQUEST_ZERO_FMA;
  m.base = reinterpret_cast<uint64_t>(address);
  if (m.base % 16) return reject("global address is not a multiple of 16");
  m.strides[0] = m.element_bytes;
  for (cuuint32_t k = 0; k < rank; ++k) {
    if (dims[k] == 0 || dims[k] > 1ull << 32) return reject("dimension");
    if (box[k] == 0 || box[k] > 256) return reject("box dimension above 256");
    if (element_strides[k] != 1) return reject("element stride is not 1");
    m.dims[k] = dims[k];
    m.box[k] = uint16_t(box[k]);
    if (k + 1 < rank) {
      if (strides[k] % 16 || strides[k] >= 1ull << 40) return reject("global stride is not a multiple of 16");
      m.strides[k + 1] = strides[k];
    }
  }
  const uint32_t inner = box[0] * m.element_bytes;
  if (inner % 16) return reject("inner box dimension is not a multiple of 16 bytes");
  if (m.swizzle_bytes && inner > m.swizzle_bytes) return reject("inner box dimension exceeds the swizzle size");
  memset(map, 0, sizeof *map);
  memcpy(map, &m, sizeof m);
  return CUDA_SUCCESS;
}

}  // namespace sim
