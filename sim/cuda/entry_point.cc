// Driver functions by name.
#include <cstring>

#include "sim/cuda/driver.h"

using namespace sim;

namespace {

struct Entry {
  const char* name;
  void* function;
};
#define ENTRY(name) {#name, reinterpret_cast<void*>(&name)}
const Entry kEntries[] = {
    ENTRY(cuInit),
    ENTRY(cuDriverGetVersion),
    ENTRY(cuDeviceGetCount),
    ENTRY(cuDeviceGet),
    ENTRY(cuDeviceGetAttribute),
    ENTRY(cuDeviceGetName),
    ENTRY(cuDeviceTotalMem),
    ENTRY(cuDevicePrimaryCtxRetain),
    ENTRY(cuDevicePrimaryCtxRelease),
    ENTRY(cuCtxPushCurrent),
    ENTRY(cuCtxPopCurrent),
    ENTRY(cuCtxSetCurrent),
    ENTRY(cuCtxGetCurrent),
    ENTRY(cuCtxGetDevice),
    ENTRY(cuCtxSynchronize),
    ENTRY(cuModuleLoadDataEx),
    ENTRY(cuModuleLoadData),
    ENTRY(cuModuleUnload),
    ENTRY(cuModuleGetFunction),
    ENTRY(cuModuleGetGlobal),
    ENTRY(cuLibraryLoadData),
    ENTRY(cuLibraryUnload),
    ENTRY(cuLibraryGetKernel),
    ENTRY(cuLibraryGetModule),
    ENTRY(cuKernelGetFunction),
    ENTRY(cuFuncSetAttribute),
    ENTRY(cuFuncGetAttribute),
    ENTRY(cuLaunchKernel),
    ENTRY(cuLaunchKernelEx),
    ENTRY(cuLaunchCooperativeKernel),
    ENTRY(cuMemAlloc),
    ENTRY(cuMemFree),
    ENTRY(cuMemcpyAsync),
    ENTRY(cuMemcpyHtoD),
    ENTRY(cuMemcpyDtoH),
    ENTRY(cuMemcpyHtoDAsync),
    ENTRY(cuMemcpyDtoHAsync),
    ENTRY(cuMemsetD8),
    ENTRY(cuMemsetD32Async),
    ENTRY(cuStreamCreate),
    ENTRY(cuStreamDestroy),
    ENTRY(cuStreamSynchronize),
    ENTRY(cuEventCreate),
    ENTRY(cuEventRecord),
    ENTRY(cuEventSynchronize),
    ENTRY(cuTensorMapEncodeTiled),
    ENTRY(cuGetErrorName),
    ENTRY(cuGetErrorString),
};
#undef ENTRY

}  // namespace

void* sim::driver_function(const char* name) {
  for (const Entry& e : kEntries)
    if (!strcmp(e.name, name)) return e.function;
  return nullptr;
}

#undef cudaGetDriverEntryPoint
#undef cudaGetDriverEntryPointByVersion
SIM_API cudaError_t cudaGetDriverEntryPointByVersion(const char* name, void** entry, unsigned, unsigned long long,
                                                     cudaDriverEntryPointQueryResult* found) {
  *entry = driver_function(name);
  if (found) *found = *entry ? cudaDriverEntryPointSuccess : cudaDriverEntryPointSymbolNotFound;
  return cudaSuccess;
}
SIM_API cudaError_t cudaGetDriverEntryPoint(const char* name, void** entry, unsigned long long flags,
                                            cudaDriverEntryPointQueryResult* found) {
  return cudaGetDriverEntryPointByVersion(name, entry, CUDART_VERSION, flags, found);
}
SIM_API CUresult cuGetProcAddress_v2(const char* name, void** entry, int, cuuint64_t, CUdriverProcAddressQueryResult* found) {
  *entry = driver_function(name);
  if (found) *found = *entry ? CU_GET_PROC_ADDRESS_SUCCESS : CU_GET_PROC_ADDRESS_SYMBOL_NOT_FOUND;
  return *entry ? CUDA_SUCCESS : CUDA_ERROR_NOT_FOUND;
}
