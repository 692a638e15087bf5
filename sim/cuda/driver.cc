// The driver API: devices, contexts, memory, streams, events. A context is a device's primary one.
#include "sim/cuda/driver.h"

#include <cstdio>
#include <cstring>

#include "sim/cuda/copy.h"
#include "sim/cuda/memory.h"

using namespace sim;

namespace {

struct Code {
  CUresult code;
  const char* name;
};
#define CODE(name) {name, #name}
constexpr Code kCodes[] = {
    CODE(CUDA_SUCCESS),
    CODE(CUDA_ERROR_INVALID_VALUE),
    CODE(CUDA_ERROR_OUT_OF_MEMORY),
    CODE(CUDA_ERROR_NOT_INITIALIZED),
    CODE(CUDA_ERROR_NO_DEVICE),
    CODE(CUDA_ERROR_INVALID_DEVICE),
    CODE(CUDA_ERROR_INVALID_IMAGE),
    CODE(CUDA_ERROR_INVALID_CONTEXT),
    CODE(CUDA_ERROR_NO_BINARY_FOR_GPU),
    CODE(CUDA_ERROR_INVALID_PTX),
    CODE(CUDA_ERROR_FILE_NOT_FOUND),
    CODE(CUDA_ERROR_INVALID_HANDLE),
    CODE(CUDA_ERROR_ILLEGAL_STATE),
    CODE(CUDA_ERROR_NOT_FOUND),
    CODE(CUDA_ERROR_NOT_READY),
    CODE(CUDA_ERROR_ILLEGAL_ADDRESS),
    CODE(CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES),
    CODE(CUDA_ERROR_ASSERT),
    CODE(CUDA_ERROR_MISALIGNED_ADDRESS),
    CODE(CUDA_ERROR_LAUNCH_FAILED),
    CODE(CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE),
    CODE(CUDA_ERROR_NOT_SUPPORTED),
    CODE(CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED),
    CODE(CUDA_ERROR_STREAM_CAPTURE_INVALIDATED),
    CODE(CUDA_ERROR_INVALID_CLUSTER_SIZE),
    CODE(CUDA_ERROR_UNKNOWN),
};
#undef CODE

void* pointer(CUdeviceptr p) { return reinterpret_cast<void*>(p); }
void** place(CUdeviceptr* p) { return reinterpret_cast<void**>(p); }

CUcontext context_of(int ordinal) { return reinterpret_cast<CUcontext>(&device_of(ordinal)); }
int ordinal_of(CUcontext c) {
  for (auto& d : runtime().devices)
    if (reinterpret_cast<CUcontext>(d.get()) == c) return d->ordinal;
  refuse(cudaErrorDeviceUninitialized);
}
thread_local std::vector<int> pushed;  // the devices below the current one on the context stack

CUresult fill(CUdeviceptr p, uint32_t value, uint32_t bytes, size_t count, CUstream stream) {
  return driver_result(api([&](Session& s) {
    FillTask f;
    f.dst = static_cast<uint8_t*>(pointer(p));
    f.value = value, f.element_bytes = bytes, f.width = count;
    submit_fill(s, stream, f);
  }));
}

}  // namespace

CUresult sim::driver_result(cudaError_t e) {  // the numbers of the runtime's codes are the driver's, but for these
  switch (e) {
    case cudaErrorInvalidConfiguration:
    case cudaErrorInvalidPitchValue:
    case cudaErrorInvalidMemcpyDirection:
      return CUDA_ERROR_INVALID_VALUE;
    case cudaErrorInvalidDeviceFunction:
      return CUDA_ERROR_INVALID_HANDLE;
    case cudaErrorInsufficientDriver:
      return CUDA_ERROR_NOT_INITIALIZED;
    default:
      return CUresult(e);
  }
}

SIM_API CUresult cuGetErrorName(CUresult code, const char** name) {
  for (const Code& c : kCodes)
    if (c.code == code) {
      *name = c.name;
      return CUDA_SUCCESS;
    }
  *name = nullptr;
  return CUDA_ERROR_INVALID_VALUE;
}
SIM_API CUresult cuGetErrorString(CUresult code, const char** text) {
  *text = cudaGetErrorString(cudaError_t(code));
  return CUDA_SUCCESS;
}

// ---------------------------------------------------------------------------------- devices, contexts

SIM_API CUresult cuInit(unsigned) { return driver_result(driver_problem()); }
SIM_API CUresult cuDriverGetVersion(int* v) { return driver_result(cudaDriverGetVersion(v)); }
SIM_API CUresult cuDeviceGetCount(int* n) { return driver_result(cudaGetDeviceCount(n)); }
SIM_API CUresult cuDeviceGet(CUdevice* d, int ordinal) {
  return driver_result(query([&] { *d = device_of(ordinal).ordinal; }));
}
SIM_API CUresult cuDeviceGetAttribute(int* v, CUdevice_attribute a, CUdevice d) {
  return driver_result(cudaDeviceGetAttribute(v, cudaDeviceAttr(a), d));
}
SIM_API CUresult cuDeviceComputeCapability(int* major, int* minor, CUdevice d) {
  return driver_result(query([&] { *major = device_of(d).card.arch / 10, *minor = device_of(d).card.arch % 10; }));
}
SIM_API CUresult cuDeviceGetName(char* name, int length, CUdevice d) {
  return driver_result(query([&] { snprintf(name, size_t(length), "%s", device_of(d).card.name().c_str()); }));
}
SIM_API CUresult cuDeviceTotalMem_v2(size_t* bytes, CUdevice d) {
  return driver_result(query([&] { *bytes = device_of(d).card.memory; }));
}
SIM_API CUresult cuDeviceGetPCIBusId(char* text, int length, CUdevice d) { return driver_result(cudaDeviceGetPCIBusId(text, length, d)); }
SIM_API CUresult cuDevicePrimaryCtxRetain(CUcontext* c, CUdevice d) {
  return driver_result(query([&] { *c = context_of(d); }));
}
SIM_API CUresult cuDevicePrimaryCtxRelease_v2(CUdevice d) {
  return driver_result(query([&] { device_of(d); }));
}
SIM_API CUresult cuDevicePrimaryCtxGetState(CUdevice d, unsigned* flags, int* active) {
  return driver_result(query([&] { *flags = device_of(d).flags, *active = 1; }));
}
SIM_API CUresult cuCtxCreate_v4(CUcontext* c, CUctxCreateParams*, unsigned, CUdevice d) {
  return driver_result(query([&] {
    *c = context_of(d);
    pushed.push_back(this_thread().device);
    this_thread().device = d;
  }));
}
SIM_API CUresult cuCtxDestroy_v2(CUcontext c) {
  return driver_result(query([&] { ordinal_of(c); }));
}
SIM_API CUresult cuCtxPushCurrent_v2(CUcontext c) {
  return driver_result(query([&] {
    const int ordinal = ordinal_of(c);
    pushed.push_back(this_thread().device);
    this_thread().device = ordinal;
  }));
}
SIM_API CUresult cuCtxPopCurrent_v2(CUcontext* c) {
  return driver_result(query([&] {
    require(!pushed.empty(), cudaErrorDeviceUninitialized);
    if (c) *c = context_of(this_thread().device);
    this_thread().device = pushed.back();
    pushed.pop_back();
  }));
}
SIM_API CUresult cuCtxSetCurrent(CUcontext c) {
  return driver_result(query([&] {
    if (c) this_thread().device = ordinal_of(c);
  }));
}
SIM_API CUresult cuCtxGetCurrent(CUcontext* c) {
  return driver_result(query([&] { *c = context_of(this_thread().device); }));
}
SIM_API CUresult cuCtxGetDevice(CUdevice* d) { return driver_result(cudaGetDevice(d)); }
SIM_API CUresult cuCtxGetStreamPriorityRange(int* least, int* greatest) {
  return driver_result(cudaDeviceGetStreamPriorityRange(least, greatest));
}
SIM_API CUresult cuCtxSynchronize() { return driver_result(cudaDeviceSynchronize()); }

// -------------------------------------------------------------------------------------------- memory

SIM_API CUresult cuMemGetInfo_v2(size_t* free, size_t* total) { return driver_result(cudaMemGetInfo(free, total)); }
SIM_API CUresult cuMemAlloc_v2(CUdeviceptr* p, size_t n) { return n ? driver_result(cudaMalloc(place(p), n)) : CUDA_ERROR_INVALID_VALUE; }
SIM_API CUresult cuMemFree_v2(CUdeviceptr p) { return driver_result(cudaFree(pointer(p))); }
SIM_API CUresult cuMemAllocPitch_v2(CUdeviceptr* p, size_t* pitch, size_t width, size_t height, unsigned) {
  return driver_result(cudaMallocPitch(place(p), pitch, width, height));
}
SIM_API CUresult cuMemAllocAsync(CUdeviceptr* p, size_t n, CUstream stream) { return driver_result(cudaMallocAsync(place(p), n, stream)); }
SIM_API CUresult cuMemFreeAsync(CUdeviceptr p, CUstream stream) { return driver_result(cudaFreeAsync(pointer(p), stream)); }
SIM_API CUresult cuMemAllocManaged(CUdeviceptr* p, size_t n, unsigned flags) {
  return driver_result(cudaMallocManaged(place(p), n, flags));
}
SIM_API CUresult cuMemAllocHost_v2(void** p, size_t n) { return driver_result(cudaMallocHost(p, n)); }
SIM_API CUresult cuMemHostAlloc(void** p, size_t n, unsigned flags) { return driver_result(cudaHostAlloc(p, n, flags)); }
SIM_API CUresult cuMemFreeHost(void* p) { return driver_result(cudaFreeHost(p)); }
SIM_API CUresult cuMemHostRegister_v2(void* p, size_t n, unsigned flags) { return driver_result(cudaHostRegister(p, n, flags)); }
SIM_API CUresult cuMemHostUnregister(void* p) { return driver_result(cudaHostUnregister(p)); }
SIM_API CUresult cuMemHostGetDevicePointer_v2(CUdeviceptr* d, void* p, unsigned flags) {
  return driver_result(cudaHostGetDevicePointer(place(d), p, flags));
}
SIM_API CUresult cuMemcpy(CUdeviceptr d, CUdeviceptr s, size_t n) {
  return driver_result(cudaMemcpy(pointer(d), pointer(s), n, cudaMemcpyDefault));
}
SIM_API CUresult cuMemcpyAsync(CUdeviceptr d, CUdeviceptr s, size_t n, CUstream stream) {
  return driver_result(cudaMemcpyAsync(pointer(d), pointer(s), n, cudaMemcpyDefault, stream));
}
SIM_API CUresult cuMemcpyHtoD_v2(CUdeviceptr d, const void* s, size_t n) {
  return driver_result(cudaMemcpy(pointer(d), s, n, cudaMemcpyHostToDevice));
}
SIM_API CUresult cuMemcpyDtoH_v2(void* d, CUdeviceptr s, size_t n) {
  return driver_result(cudaMemcpy(d, pointer(s), n, cudaMemcpyDeviceToHost));
}
SIM_API CUresult cuMemcpyDtoD_v2(CUdeviceptr d, CUdeviceptr s, size_t n) {
  return driver_result(cudaMemcpy(pointer(d), pointer(s), n, cudaMemcpyDeviceToDevice));
}
SIM_API CUresult cuMemcpyHtoDAsync_v2(CUdeviceptr d, const void* s, size_t n, CUstream stream) {
  return driver_result(cudaMemcpyAsync(pointer(d), s, n, cudaMemcpyHostToDevice, stream));
}
SIM_API CUresult cuMemcpyDtoHAsync_v2(void* d, CUdeviceptr s, size_t n, CUstream stream) {
  return driver_result(cudaMemcpyAsync(d, pointer(s), n, cudaMemcpyDeviceToHost, stream));
}
SIM_API CUresult cuMemcpyDtoDAsync_v2(CUdeviceptr d, CUdeviceptr s, size_t n, CUstream stream) {
  return driver_result(cudaMemcpyAsync(pointer(d), pointer(s), n, cudaMemcpyDeviceToDevice, stream));
}
SIM_API CUresult cuMemsetD8_v2(CUdeviceptr d, unsigned char v, size_t n) { return fill(d, v, 1, n, nullptr); }
SIM_API CUresult cuMemsetD16_v2(CUdeviceptr d, unsigned short v, size_t n) { return fill(d, v, 2, n, nullptr); }
SIM_API CUresult cuMemsetD32_v2(CUdeviceptr d, unsigned v, size_t n) { return fill(d, v, 4, n, nullptr); }
SIM_API CUresult cuMemsetD8Async(CUdeviceptr d, unsigned char v, size_t n, CUstream stream) { return fill(d, v, 1, n, stream); }
SIM_API CUresult cuMemsetD16Async(CUdeviceptr d, unsigned short v, size_t n, CUstream stream) { return fill(d, v, 2, n, stream); }
SIM_API CUresult cuMemsetD32Async(CUdeviceptr d, unsigned v, size_t n, CUstream stream) { return fill(d, v, 4, n, stream); }
SIM_API CUresult cuTensorMapEncodeTiled(CUtensorMap* m, CUtensorMapDataType t, cuuint32_t rank, void* base, const cuuint64_t* dims,
                                        const cuuint64_t* strides, const cuuint32_t* box, const cuuint32_t* es, CUtensorMapInterleave il,
                                        CUtensorMapSwizzle sw, CUtensorMapL2promotion l2, CUtensorMapFloatOOBfill fill) {
  return encode_tiled(m, t, rank, base, dims, strides, box, es, il, sw, l2, fill);
}

// ----------------------------------------------------------------------------- streams, events, graphs

SIM_API CUresult cuStreamCreate(CUstream* s, unsigned flags) { return driver_result(cudaStreamCreateWithFlags(s, flags)); }
SIM_API CUresult cuStreamCreateWithPriority(CUstream* s, unsigned flags, int priority) {
  return driver_result(cudaStreamCreateWithPriority(s, flags, priority));
}
SIM_API CUresult cuStreamDestroy_v2(CUstream s) { return driver_result(cudaStreamDestroy(s)); }
SIM_API CUresult cuStreamSynchronize(CUstream s) { return driver_result(cudaStreamSynchronize(s)); }
SIM_API CUresult cuStreamQuery(CUstream s) { return driver_result(cudaStreamQuery(s)); }
SIM_API CUresult cuStreamWaitEvent(CUstream s, CUevent e, unsigned flags) { return driver_result(cudaStreamWaitEvent(s, e, flags)); }
SIM_API CUresult cuStreamBeginCapture_v2(CUstream s, CUstreamCaptureMode mode) {
  return driver_result(cudaStreamBeginCapture(s, cudaStreamCaptureMode(mode)));
}
SIM_API CUresult cuStreamEndCapture(CUstream s, CUgraph* graph) { return driver_result(cudaStreamEndCapture(s, graph)); }
SIM_API CUresult cuStreamIsCapturing(CUstream s, CUstreamCaptureStatus* status) {
  return driver_result(cudaStreamIsCapturing(s, reinterpret_cast<cudaStreamCaptureStatus*>(status)));
}
SIM_API CUresult cuEventCreate(CUevent* e, unsigned flags) { return driver_result(cudaEventCreateWithFlags(e, flags)); }
SIM_API CUresult cuEventDestroy_v2(CUevent e) { return driver_result(cudaEventDestroy(e)); }
SIM_API CUresult cuEventRecord(CUevent e, CUstream s) { return driver_result(cudaEventRecord(e, s)); }
SIM_API CUresult cuEventSynchronize(CUevent e) { return driver_result(cudaEventSynchronize(e)); }
SIM_API CUresult cuEventQuery(CUevent e) { return driver_result(cudaEventQuery(e)); }
SIM_API CUresult cuEventElapsedTime_v2(float* ms, CUevent a, CUevent b) { return driver_result(cudaEventElapsedTime(ms, a, b)); }
SIM_API CUresult cuGraphInstantiateWithFlags(CUgraphExec* exec, CUgraph graph, unsigned long long flags) {
  return driver_result(cudaGraphInstantiateWithFlags(exec, graph, flags));
}
SIM_API CUresult cuGraphLaunch(CUgraphExec exec, CUstream s) { return driver_result(cudaGraphLaunch(exec, s)); }
SIM_API CUresult cuGraphExecDestroy(CUgraphExec exec) { return driver_result(cudaGraphExecDestroy(exec)); }
SIM_API CUresult cuGraphDestroy(CUgraph graph) { return driver_result(cudaGraphDestroy(graph)); }
