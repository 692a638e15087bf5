#pragma once
#include <cuda_runtime_api.h>

#include <string>

namespace heddle::cuda {

// What to say of a device whose context an error has ended.
std::string lost_text(const std::string& device, cudaError_t e, const char* what);

}  // namespace heddle::cuda
