// What the driver API's files share.
#pragma once

#include "sim/cuda/runtime.h"

namespace sim {

CUresult driver_result(cudaError_t code);

// A driver function by the name that a program asks for, as "cuMemAlloc"; null if it is not served.
void* driver_function(const char* name);

}  // namespace sim
