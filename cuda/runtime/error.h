#pragma once
// From a CUDA error code to the engine's error.
#include <cuda_runtime_api.h>

#include <string>

namespace heddle::cuda {

// Throws OpError when `e` is an error: "<what>: <the driver's words>". A fault that the card cannot recover from marks the
// device of this thread's queue as lost (queue.h).
void check(cudaError_t e, const char* what);

std::string text_of(cudaError_t e);     // "an illegal memory access was encountered (cudaErrorIllegalAddress)"
std::string version_text(int version);  // 13010: "13.1"

// Errors after which every call on the device's context fails.
bool is_fatal(cudaError_t e);

}  // namespace heddle::cuda
