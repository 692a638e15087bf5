// Whether the machine code for Hopper (sm_90a) of this build runs on the card: that of every *_sm90.cu is in the same object list.
#include <cuda_runtime.h>

#include "runtime/probe.h"

namespace heddle::cuda {
namespace {

__global__ void __launch_bounds__(32) nothing_sm90() {}

}  // namespace

bool has_hopper_code() {
  cudaFuncAttributes attributes;
  const cudaError_t e = cudaFuncGetAttributes(&attributes, reinterpret_cast<const void*>(nothing_sm90));
  if (e != cudaSuccess) cudaGetLastError();
  return e == cudaSuccess;
}

}  // namespace heddle::cuda
