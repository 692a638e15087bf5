#include "runtime/tensor_map.h"

#include <cuda_runtime_api.h>

#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

#include "core/error.h"
#include "runtime/error.h"

namespace heddle::cuda {
namespace {

// From the driver of this machine: the addon loads where there is none.
decltype(&cuTensorMapEncodeTiled) encoder() {
  static const auto function = [] {
    void* entry = nullptr;
    cudaDriverEntryPointQueryResult found{};
    check(cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &entry, 12000, cudaEnableDefault, &found), "cuTensorMapEncodeTiled");
    if (!entry) throw OpError("the NVIDIA driver has no cuTensorMapEncodeTiled: update it", ErrorCode::device);
    return reinterpret_cast<decltype(&cuTensorMapEncodeTiled)>(entry);
  }();
  return function;
}

CUtensorMapDataType type_of(DType type) {
  switch (type) {
    case DType::bf16:
      return CU_TENSOR_MAP_DATA_TYPE_BFLOAT16;
    case DType::f16:
      return CU_TENSOR_MAP_DATA_TYPE_FLOAT16;
    case DType::f32:
      return CU_TENSOR_MAP_DATA_TYPE_FLOAT32;
    case DType::u8:
      return CU_TENSOR_MAP_DATA_TYPE_UINT8;
    default:
      throw OpError(std::string("a tensor map of ") + name_of(type), ErrorCode::internal);
  }
}

// What a map is made of, without padding between fields: compared and hashed as bytes.
struct Key {
  const void* base;
  cuuint64_t dims[4], strides[3];
  cuuint32_t box[4];
  int64_t type;
};
static_assert(sizeof(Key) == 8 * (1 + 4 + 3 + 2 + 1));

Key key_of(const TensorBox& b) {
  const auto bytes = static_cast<cuuint64_t>(size_of(b.type));
  Key k{};
  k.base = b.base;
  k.type = static_cast<int64_t>(b.type);
  k.dims[0] = static_cast<cuuint64_t>(b.cols);
  k.dims[1] = static_cast<cuuint64_t>(b.rows);
  // A dimension of 1 is never stepped along; its stride still has to be a valid one.
  const cuuint64_t row = (k.dims[0] * bytes + 15) / 16 * 16;
  k.strides[0] = b.rows > 1 ? static_cast<cuuint64_t>(b.row_stride) * bytes : row;
  for (int i = 0; i < 2; ++i) {
    const int64_t n = b.batch[1 - i], stride = b.batch_stride[1 - i];
    k.dims[2 + i] = stride ? static_cast<cuuint64_t>(n) : 1;
    k.strides[1 + i] = n > 1 && stride ? static_cast<cuuint64_t>(stride) * bytes : k.strides[i] * k.dims[1 + i];
  }
  k.box[0] = static_cast<cuuint32_t>(b.box_cols);
  k.box[1] = static_cast<cuuint32_t>(b.box_rows);
  k.box[2] = k.box[3] = 1;
  return k;
}

CUtensorMap encode(const TensorBox& b, const Key& k) {
  CUtensorMap map;
  const cuuint32_t step[4] = {1, 1, 1, 1};
  const CUresult r =
      encoder()(&map, type_of(b.type), 4, const_cast<void*>(k.base), k.dims, k.strides, k.box, step, CU_TENSOR_MAP_INTERLEAVE_NONE,
                CU_TENSOR_MAP_SWIZZLE_128B, CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  if (r != CUDA_SUCCESS)
    throw OpError("cuTensorMapEncodeTiled: error " + std::to_string(static_cast<int>(r)) + " for " + std::to_string(b.rows) + " rows of " +
                      std::to_string(b.cols),
                  ErrorCode::internal);
  return map;
}

uint64_t hash_of(const Key& k) {
  uint64_t words[sizeof(Key) / 8], h = 0;
  std::memcpy(words, &k, sizeof k);
  for (const uint64_t w : words) h = (h ^ w ^ w >> 29) * 0x9e3779b97f4a7c15u;
  return h >> 32;
}

struct Entry {
  CUtensorMap map;
  Key key;
};

}  // namespace

CUtensorMap tensor_map(const TensorBox& box) {
  // One place per hash: a map that another one displaces is made anew. Keys hold all that a map depends on, so none goes stale.
  thread_local std::vector<Entry> kept(1024);
  const Key key = key_of(box);
  Entry& entry = kept[hash_of(key) % kept.size()];
  if (std::memcmp(&entry.key, &key, sizeof key) != 0) entry = {encode(box, key), key};
  return entry.map;
}

}  // namespace heddle::cuda
