#include <cuda_runtime.h>

#include "build_info.h"
#include "runtime/error.h"
#include "runtime/probe.h"

namespace heddle::cuda {
namespace {

__global__ void __launch_bounds__(32) nothing() {}

}  // namespace

std::string probe(const Card& card) {
  cudaFuncAttributes attributes;
  const cudaError_t e = cudaFuncGetAttributes(&attributes, reinterpret_cast<const void*>(nothing));
  if (e == cudaSuccess) return "";
  cudaGetLastError();
  if (e == cudaErrorNoKernelImageForDevice || e == cudaErrorInvalidDeviceFunction || e == cudaErrorUnsupportedPtxVersion)
    return "this build has no kernels for " + card.name + " (sm_" + std::to_string(card.sm) + "); it was built for " + HEDDLE_CUDA_ARCHS +
           ". Build for this machine with: npx heddle build";
  return text_of(e);
}

}  // namespace heddle::cuda
