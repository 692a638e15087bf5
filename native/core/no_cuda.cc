// In a build without CUDA: what takes the place of cuda/runtime/device.cc.
#include "core/device.h"
#include "core/error.h"

namespace heddle {

CudaStatus cuda_status() { return {"this build has no CUDA backend", "", {}}; }

std::unique_ptr<Device> make_cuda_device(int) { throw OpError(cuda_status().problem, ErrorCode::device); }

}  // namespace heddle
