// The entry points of the CUDA runtime that nvcc-compiled objects and a trainer use.
// Streams run in order and at once: a launch has finished when it returns.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>

#include "sim/cuda/runtime.h"

using namespace sim;

#define API extern "C" __attribute__((visibility("default")))

namespace {

using Lock = std::lock_guard<std::recursive_mutex>;

cudaError_t result(cudaError_t e) {
  Runtime& r = runtime();
  if (e != cudaSuccess) r.last = e;
  return r.sticky != cudaSuccess ? r.sticky : e;
}
Dim3 dims(dim3 d) { return {d.x, d.y, d.z}; }

struct Configuration {
  dim3 grid, block;
  size_t shared;
  cudaStream_t stream;
};
thread_local std::vector<Configuration> configurations;

Kernel* kernel_of(const void* function) {
  auto& kernels = runtime().kernels;
  auto it = kernels.find(function);
  if (it != kernels.end()) return it->second.get();
  for (auto& [host, k] : kernels)
    if (k.get() == function) return k.get();  // a cudaKernel_t
  return nullptr;
}

}  // namespace

struct CUevent_st {
  std::chrono::steady_clock::time_point time;
  bool recorded = false;
};
struct CUstream_st {
  int priority = 0;
};

// -------------------------------------------------------------------- registration by host stubs

API void** __cudaRegisterFatBinary(void* wrapper) {
  Lock lock(runtime().mutex);
  auto m = std::make_unique<LoadedModule>();
  try {
    m->images = ptx_images(wrapper);
  } catch (const Error& e) {
    fprintf(stderr, "sim: %s\n", e.what());
    abort();
  }
  runtime().modules.push_back(std::move(m));
  return reinterpret_cast<void**>(runtime().modules.back().get());
}
API void __cudaRegisterFatBinaryEnd(void**) {}
API void __cudaUnregisterFatBinary(void**) {}
API char __cudaInitModule(void**) { return 0; }
API void __cudaRegisterFunction(void** handle, const char* host, char*, const char* name, int, uint3*, uint3*, dim3*, dim3*, int*) {
  Lock lock(runtime().mutex);
  auto k = std::make_unique<Kernel>();
  k->owner = reinterpret_cast<LoadedModule*>(handle);
  k->name = name;
  runtime().kernels[host] = std::move(k);
}
API void __cudaRegisterVar(void** handle, char* host, char*, const char* name, int, size_t, int, int) {
  Lock lock(runtime().mutex);
  runtime().variables[host] = {reinterpret_cast<LoadedModule*>(handle), name};
}
API void __cudaRegisterManagedVar(void**, void**, char*, const char* name, int, size_t, int, int) {
  fprintf(stderr, "sim: managed variable %s is not supported\n", name);
  abort();
}

API unsigned __cudaPushCallConfiguration(dim3 grid, dim3 block, size_t shared, CUstream_st* stream) {
  configurations.push_back({grid, block, shared, stream});
  return 0;
}
API cudaError_t __cudaPopCallConfiguration(dim3* grid, dim3* block, size_t* shared, void* stream) {
  if (configurations.empty()) return cudaErrorMissingConfiguration;
  const Configuration c = configurations.back();
  configurations.pop_back();
  *grid = c.grid, *block = c.block, *shared = c.shared;
  *static_cast<cudaStream_t*>(stream) = c.stream;
  return cudaSuccess;
}

// -------------------------------------------------------------------------------------- launches

namespace {

cudaError_t launch(Kernel& k, const Launch& l, void** args, bool cooperative) {
  uint32_t& resident = runtime().machine.options.resident;
  const uint32_t usual = resident;
  if (cooperative) resident = uint32_t(l.grid.count());  // all blocks at the same time
  const cudaError_t e = runtime().launch(k, l, args);
  resident = usual;
  return result(e);
}

}  // namespace

API cudaError_t cudaLaunchKernel(const void* f, dim3 grid, dim3 block, void** args, size_t shared, cudaStream_t) {
  Lock lock(runtime().mutex);
  Kernel* k = kernel_of(f);
  if (!k) return result(cudaErrorInvalidDeviceFunction);
  Launch l;
  l.grid = dims(grid), l.block = dims(block), l.dynamic_bytes = uint32_t(shared);
  return result(runtime().launch(*k, l, args));
}
API cudaError_t __cudaGetKernel(cudaKernel_t* kernel, const void* f) {
  *kernel = reinterpret_cast<cudaKernel_t>(kernel_of(f));
  return *kernel ? cudaSuccess : cudaErrorInvalidDeviceFunction;
}
API cudaError_t __cudaLaunchKernel(cudaKernel_t k, dim3 grid, dim3 block, void** args, size_t shared, cudaStream_t s) {
  return cudaLaunchKernel(k, grid, block, args, shared, s);
}
API cudaError_t __cudaLaunchKernel_ptsz(cudaKernel_t k, dim3 grid, dim3 block, void** args, size_t shared, cudaStream_t s) {
  return cudaLaunchKernel(k, grid, block, args, shared, s);
}
API cudaError_t cudaLaunchKernelExC(const cudaLaunchConfig_t* c, const void* f, void** args) {
  Lock lock(runtime().mutex);
  Kernel* k = kernel_of(f);
  if (!k) return result(cudaErrorInvalidDeviceFunction);
  Launch l;
  l.grid = dims(c->gridDim), l.block = dims(c->blockDim), l.dynamic_bytes = uint32_t(c->dynamicSmemBytes);
  bool cooperative = false;
  for (unsigned n = 0; n < c->numAttrs; ++n)
    if (c->attrs[n].id == cudaLaunchAttributeClusterDimension) {
      const auto& d = c->attrs[n].val.clusterDim;
      l.cluster = {d.x, d.y, d.z};
    } else if (c->attrs[n].id == cudaLaunchAttributeCooperative) {
      cooperative = c->attrs[n].val.cooperative;
    }
  return launch(*k, l, args, cooperative);
}
API cudaError_t cudaLaunchCooperativeKernel(const void* f, dim3 grid, dim3 block, void** args, size_t shared, cudaStream_t) {
  Lock lock(runtime().mutex);
  Kernel* k = kernel_of(f);
  if (!k) return result(cudaErrorInvalidDeviceFunction);
  Launch l;
  l.grid = dims(grid), l.block = dims(block), l.dynamic_bytes = uint32_t(shared);
  return launch(*k, l, args, true);
}

// ---------------------------------------------------------------------------------------- memory

API cudaError_t cudaMalloc(void** p, size_t bytes) {
  Lock lock(runtime().mutex);
  *p = bytes ? reinterpret_cast<void*>(global_memory().allocate(bytes, Allocation::Device)) : nullptr;
  return result(bytes && !*p ? cudaErrorMemoryAllocation : cudaSuccess);
}
API cudaError_t cudaFree(void* p) {
  Lock lock(runtime().mutex);
  if (p && !global_memory().release(reinterpret_cast<uint64_t>(p))) return result(cudaErrorInvalidValue);
  return result(cudaSuccess);
}
API cudaError_t cudaMallocAsync(void** p, size_t bytes, cudaStream_t) { return cudaMalloc(p, bytes); }
API cudaError_t cudaFreeAsync(void* p, cudaStream_t) { return cudaFree(p); }
API cudaError_t cudaHostAlloc(void** p, size_t bytes, unsigned) {
  Lock lock(runtime().mutex);
  *p = reinterpret_cast<void*>(global_memory().allocate(std::max<size_t>(bytes, 1), Allocation::Host));
  return result(*p ? cudaSuccess : cudaErrorMemoryAllocation);
}
API cudaError_t cudaMallocHost(void** p, size_t bytes) { return cudaHostAlloc(p, bytes, 0); }
API cudaError_t cudaFreeHost(void* p) { return cudaFree(p); }
API cudaError_t cudaHostRegister(void* p, size_t bytes, unsigned) {
  Lock lock(runtime().mutex);
  global_memory().adopt(p, bytes, Allocation::Host);
  return result(cudaSuccess);
}
API cudaError_t cudaHostUnregister(void* p) { return cudaFree(p); }
API cudaError_t cudaHostGetDevicePointer(void** d, void* h, unsigned) {
  *d = h;
  return cudaSuccess;
}
API cudaError_t cudaMemGetInfo(size_t* free, size_t* total) {
  *total = size_t(80) << 30;
  *free = *total - global_memory().used();
  return cudaSuccess;
}

namespace {

// A device pointer must lie in a live allocation with all its bytes; any other pointer is the host's.
cudaError_t check_range(const void* p, size_t bytes, bool device) {
  if (!bytes) return cudaSuccess;
  const uint64_t a = reinterpret_cast<uint64_t>(p);
  Allocation* al = global_memory().find(a);
  if (al && al->live && a + bytes <= al->end) return cudaSuccess;
  if (!al && !device) return cudaSuccess;
  fprintf(stderr, "sim: copy or memset of %zu bytes: address %p %s\n", bytes, p, global_memory().describe(a, bytes).c_str());
  return cudaErrorInvalidValue;
}

}  // namespace

API cudaError_t cudaMemcpy(void* dst, const void* src, size_t bytes, cudaMemcpyKind kind) {
  Lock lock(runtime().mutex);
  if (runtime().sticky != cudaSuccess) return runtime().sticky;
  if (auto e = check_range(dst, bytes, kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDeviceToDevice)) return result(e);
  if (auto e = check_range(src, bytes, kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyDeviceToDevice)) return result(e);
  memmove(dst, src, bytes);
  return result(cudaSuccess);
}
API cudaError_t cudaMemcpyAsync(void* dst, const void* src, size_t bytes, cudaMemcpyKind kind, cudaStream_t) {
  return cudaMemcpy(dst, src, bytes, kind);
}
API cudaError_t cudaMemcpy2DAsync(void* dst, size_t dpitch, const void* src, size_t spitch, size_t width, size_t height,
                                  cudaMemcpyKind kind, cudaStream_t) {
  for (size_t r = 0; r < height; ++r)
    if (auto e = cudaMemcpy(static_cast<char*>(dst) + r * dpitch, static_cast<const char*>(src) + r * spitch, width, kind)) return e;
  return cudaSuccess;
}
API cudaError_t cudaMemset(void* p, int value, size_t bytes) {
  Lock lock(runtime().mutex);
  if (runtime().sticky != cudaSuccess) return runtime().sticky;
  if (auto e = check_range(p, bytes, true)) return result(e);
  memset(p, value, bytes);
  return result(cudaSuccess);
}
API cudaError_t cudaMemsetAsync(void* p, int value, size_t bytes, cudaStream_t) { return cudaMemset(p, value, bytes); }

namespace {

cudaError_t symbol(const void* host, uint64_t* address, uint64_t* size) {
  Runtime& r = runtime();
  auto it = r.variables.find(host);
  if (it == r.variables.end()) return cudaErrorInvalidSymbol;
  try {
    r.load(*it->second.first);
  } catch (const Error& e) {
    fprintf(stderr, "sim: %s\n", e.what());
    return cudaErrorInvalidSymbol;
  }
  auto v = it->second.first->variables.find(it->second.second);
  if (v == it->second.first->variables.end()) return cudaErrorInvalidSymbol;
  *address = v->second.first, *size = v->second.second;
  return cudaSuccess;
}

}  // namespace

API cudaError_t cudaGetSymbolAddress(void** p, const void* host) {
  Lock lock(runtime().mutex);
  uint64_t size;
  return result(symbol(host, reinterpret_cast<uint64_t*>(p), &size));
}
API cudaError_t cudaGetSymbolSize(size_t* n, const void* host) {
  Lock lock(runtime().mutex);
  uint64_t address, size = 0;
  const cudaError_t e = symbol(host, &address, &size);
  *n = size;
  return result(e);
}
API cudaError_t cudaMemcpyToSymbol(const void* host, const void* src, size_t bytes, size_t offset, cudaMemcpyKind kind) {
  void* p;
  if (auto e = cudaGetSymbolAddress(&p, host)) return e;
  return cudaMemcpy(static_cast<char*>(p) + offset, src, bytes, kind);
}
API cudaError_t cudaMemcpyFromSymbol(void* dst, const void* host, size_t bytes, size_t offset, cudaMemcpyKind kind) {
  void* p;
  if (auto e = cudaGetSymbolAddress(&p, host)) return e;
  return cudaMemcpy(dst, static_cast<char*>(p) + offset, bytes, kind);
}
API cudaError_t cudaMemcpyToSymbolAsync(const void* host, const void* src, size_t bytes, size_t offset, cudaMemcpyKind kind, cudaStream_t) {
  return cudaMemcpyToSymbol(host, src, bytes, offset, kind);
}

// -------------------------------------------------------------------------------- streams, events

API cudaError_t cudaStreamCreateWithPriority(cudaStream_t* s, unsigned, int priority) {
  *s = new CUstream_st{priority};
  return cudaSuccess;
}
API cudaError_t cudaStreamCreateWithFlags(cudaStream_t* s, unsigned flags) { return cudaStreamCreateWithPriority(s, flags, 0); }
API cudaError_t cudaStreamCreate(cudaStream_t* s) { return cudaStreamCreateWithPriority(s, 0, 0); }
API cudaError_t cudaStreamDestroy(cudaStream_t s) {
  delete s;
  return cudaSuccess;
}
API cudaError_t cudaStreamSynchronize(cudaStream_t) { return result(cudaSuccess); }
API cudaError_t cudaStreamQuery(cudaStream_t) { return result(cudaSuccess); }
API cudaError_t cudaStreamWaitEvent(cudaStream_t, cudaEvent_t, unsigned) { return result(cudaSuccess); }
API cudaError_t cudaStreamIsCapturing(cudaStream_t, cudaStreamCaptureStatus* s) {
  *s = cudaStreamCaptureStatusNone;
  return cudaSuccess;
}
API cudaError_t cudaStreamBeginCapture(cudaStream_t, cudaStreamCaptureMode) { return result(cudaErrorNotSupported); }
API cudaError_t cudaStreamEndCapture(cudaStream_t, cudaGraph_t*) { return result(cudaErrorNotSupported); }
API cudaError_t cudaDeviceGetStreamPriorityRange(int* low, int* high) {
  *low = 0, *high = -5;
  return cudaSuccess;
}
API cudaError_t cudaLaunchHostFunc(cudaStream_t, cudaHostFn_t f, void* data) {
  f(data);
  return result(cudaSuccess);
}
API cudaError_t cudaEventCreateWithFlags(cudaEvent_t* e, unsigned) {
  *e = new CUevent_st;
  return cudaSuccess;
}
API cudaError_t cudaEventCreate(cudaEvent_t* e) { return cudaEventCreateWithFlags(e, 0); }
API cudaError_t cudaEventDestroy(cudaEvent_t e) {
  delete e;
  return cudaSuccess;
}
API cudaError_t cudaEventRecord(cudaEvent_t e, cudaStream_t) {
  e->time = std::chrono::steady_clock::now();
  e->recorded = true;
  return result(cudaSuccess);
}
API cudaError_t cudaEventSynchronize(cudaEvent_t) { return result(cudaSuccess); }
API cudaError_t cudaEventQuery(cudaEvent_t) { return result(cudaSuccess); }
API cudaError_t cudaEventElapsedTime(float* ms, cudaEvent_t a, cudaEvent_t b) {
  if (!a->recorded || !b->recorded) return result(cudaErrorInvalidResourceHandle);
  *ms = std::chrono::duration<float, std::milli>(b->time - a->time).count();
  return cudaSuccess;
}
API cudaError_t cudaDeviceSynchronize() { return result(cudaSuccess); }

// ---------------------------------------------------------------------------------- device, errors

API cudaError_t cudaGetDeviceCount(int* n) {
  *n = 1;
  return cudaSuccess;
}
API cudaError_t cudaGetDevice(int* d) {
  *d = 0;
  return cudaSuccess;
}
API cudaError_t cudaSetDevice(int d) { return result(d ? cudaErrorInvalidDevice : cudaSuccess); }
API cudaError_t cudaDeviceReset() {
  simReset();
  return cudaSuccess;
}
API cudaError_t cudaDriverGetVersion(int* v) {
  *v = CUDART_VERSION;
  return cudaSuccess;
}
API cudaError_t cudaRuntimeGetVersion(int* v) { return cudaDriverGetVersion(v); }

API cudaError_t cudaDeviceGetAttribute(int* v, cudaDeviceAttr a, int) {
  const Card& c = runtime().card;
  switch (a) {
    case cudaDevAttrComputeCapabilityMajor:
      *v = c.major;
      break;
    case cudaDevAttrComputeCapabilityMinor:
      *v = c.minor;
      break;
    case cudaDevAttrMultiProcessorCount:
      *v = 4;
      break;
    case cudaDevAttrMaxThreadsPerBlock:
      *v = 1024;
      break;
    case cudaDevAttrMaxThreadsPerMultiProcessor:
      *v = 2048;
      break;
    case cudaDevAttrMaxSharedMemoryPerBlock:
      *v = 48 * 1024;
      break;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin:
      *v = c.shared_optin();
      break;
    case cudaDevAttrMaxSharedMemoryPerMultiprocessor:
      *v = c.shared_optin() + 1024;
      break;
    case cudaDevAttrReservedSharedMemoryPerBlock:
      *v = 1024;
      break;
    case cudaDevAttrMaxRegistersPerBlock:
      *v = 65536;
      break;
    case cudaDevAttrMaxRegistersPerMultiprocessor:
      *v = 65536;
      break;
    case cudaDevAttrWarpSize:
      *v = 32;
      break;
    case cudaDevAttrL2CacheSize:
      *v = 50 << 20;
      break;
    case cudaDevAttrClockRate:
      *v = 1'000'000;
      break;
    case cudaDevAttrCooperativeLaunch:
      *v = 1;
      break;
    case cudaDevAttrClusterLaunch:
      *v = c.arch() >= 90;
      break;
    case cudaDevAttrMemoryPoolsSupported:
      *v = 1;
      break;
    case cudaDevAttrMaxGridDimX:
      *v = 0x7fffffff;
      break;
    case cudaDevAttrMaxGridDimY:
    case cudaDevAttrMaxGridDimZ:
      *v = 65535;
      break;
    case cudaDevAttrMaxBlockDimX:
    case cudaDevAttrMaxBlockDimY:
      *v = 1024;
      break;
    case cudaDevAttrMaxBlockDimZ:
      *v = 64;
      break;
    default:
      *v = 0;
      break;
  }
  return cudaSuccess;
}
API cudaError_t cudaGetDeviceProperties(cudaDeviceProp* p, int device) {
  if (device) return result(cudaErrorInvalidDevice);
  *p = {};
  auto get = [](cudaDeviceAttr a) {
    int v = 0;
    cudaDeviceGetAttribute(&v, a, 0);
    return v;
  };
  snprintf(p->name, sizeof p->name, "PTX simulator (sm_%d)", runtime().card.arch());
  p->major = runtime().card.major, p->minor = runtime().card.minor;
  p->totalGlobalMem = size_t(80) << 30;
  p->sharedMemPerBlock = size_t(get(cudaDevAttrMaxSharedMemoryPerBlock));
  p->sharedMemPerBlockOptin = size_t(get(cudaDevAttrMaxSharedMemoryPerBlockOptin));
  p->sharedMemPerMultiprocessor = size_t(get(cudaDevAttrMaxSharedMemoryPerMultiprocessor));
  p->reservedSharedMemPerBlock = 1024;
  p->regsPerBlock = p->regsPerMultiprocessor = 65536;
  p->warpSize = 32;
  p->maxThreadsPerBlock = 1024, p->maxThreadsPerMultiProcessor = 2048;
  p->maxThreadsDim[0] = p->maxThreadsDim[1] = 1024, p->maxThreadsDim[2] = 64;
  p->maxGridSize[0] = 0x7fffffff, p->maxGridSize[1] = p->maxGridSize[2] = 65535;
  p->multiProcessorCount = get(cudaDevAttrMultiProcessorCount);
  p->l2CacheSize = 50 << 20;
  p->clusterLaunch = runtime().card.arch() >= 90;
  p->cooperativeLaunch = 1;
  p->memoryPoolsSupported = 1;
  return cudaSuccess;
}

API cudaError_t cudaGetLastError() {
  Runtime& r = runtime();
  return r.sticky != cudaSuccess ? r.sticky : std::exchange(r.last, cudaSuccess);
}
API cudaError_t cudaPeekAtLastError() { return runtime().sticky != cudaSuccess ? runtime().sticky : runtime().last; }
namespace {
constexpr struct {
  cudaError_t code;
  const char *name, *text;
} kErrors[] = {
    {cudaSuccess, "cudaSuccess", "no error"},
    {cudaErrorInvalidValue, "cudaErrorInvalidValue", "invalid argument"},
    {cudaErrorMemoryAllocation, "cudaErrorMemoryAllocation", "out of memory"},
    {cudaErrorInvalidConfiguration, "cudaErrorInvalidConfiguration", "invalid configuration argument"},
    {cudaErrorInvalidDeviceFunction, "cudaErrorInvalidDeviceFunction", "invalid device function"},
    {cudaErrorInvalidSymbol, "cudaErrorInvalidSymbol", "invalid device symbol"},
    {cudaErrorInvalidDevice, "cudaErrorInvalidDevice", "invalid device ordinal"},
    {cudaErrorLaunchFailure, "cudaErrorLaunchFailure", "unspecified launch failure (the simulator's message is on stderr)"},
    {cudaErrorLaunchOutOfResources, "cudaErrorLaunchOutOfResources", "too many resources requested for launch"},
    {cudaErrorInvalidClusterSize, "cudaErrorInvalidClusterSize", "invalid cluster size"},
    {cudaErrorNotSupported, "cudaErrorNotSupported", "operation not supported"},
    {cudaErrorInvalidResourceHandle, "cudaErrorInvalidResourceHandle", "invalid resource handle"},
    {cudaErrorMissingConfiguration, "cudaErrorMissingConfiguration", "missing configuration"},
};
}  // namespace
API const char* cudaGetErrorString(cudaError_t e) {
  for (auto& k : kErrors)
    if (k.code == e) return k.text;
  return "unrecognized error code";
}
API const char* cudaGetErrorName(cudaError_t e) {
  for (auto& k : kErrors)
    if (k.code == e) return k.name;
  return "unrecognized error code";
}

// ----------------------------------------------------------------------------- functions, driver

API cudaError_t cudaFuncSetAttribute(const void* f, cudaFuncAttribute a, int value) {
  Lock lock(runtime().mutex);
  Kernel* k = kernel_of(f);
  if (!k) return result(cudaErrorInvalidDeviceFunction);
  if (a == cudaFuncAttributeMaxDynamicSharedMemorySize) {
    if (value > runtime().card.shared_optin()) return result(cudaErrorInvalidValue);
    k->max_dynamic_shared = value;
  } else if (a == cudaFuncAttributeNonPortableClusterSizeAllowed) {
    k->non_portable_cluster = value;
  }
  return result(cudaSuccess);
}
API cudaError_t cudaFuncGetAttributes(cudaFuncAttributes* out, const void* f) {
  Lock lock(runtime().mutex);
  Kernel* k = kernel_of(f);
  if (!k) return result(cudaErrorInvalidDeviceFunction);
  *out = {};
  try {
    const Program& p = runtime().program(*k);
    out->sharedSizeBytes = p.static_shared;
    out->localSizeBytes = p.local_bytes;
    out->maxThreadsPerBlock = p.function->max_threads ? int(p.function->max_threads) : 1024;
  } catch (const Error& e) {
    fprintf(stderr, "sim: %s\n", e.what());
    runtime().message = e.what();
    return result(cudaErrorInvalidDeviceFunction);
  }
  out->numRegs = 64;  // not known before ptxas
  out->ptxVersion = out->binaryVersion = runtime().card.arch();
  out->maxDynamicSharedSizeBytes = k->max_dynamic_shared;
  return cudaSuccess;
}
API cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int* n, const void* f, int threads, size_t shared, unsigned) {
  cudaFuncAttributes a;
  if (auto e = cudaFuncGetAttributes(&a, f)) return e;
  const size_t used = a.sharedSizeBytes + shared + 1024;
  *n = int(std::min<size_t>(size_t(2048 / std::max(threads, 1)), size_t(runtime().card.shared_optin() + 1024) / used));
  return cudaSuccess;
}
API cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessor(int* n, const void* f, int threads, size_t shared) {
  return cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(n, f, threads, shared, 0);
}
API cudaError_t cudaGetDriverEntryPointByVersion(const char* name, void** entry, unsigned, unsigned long long,
                                                 cudaDriverEntryPointQueryResult* found) {
  *entry = !strcmp(name, "cuTensorMapEncodeTiled") ? reinterpret_cast<void*>(&encode_tiled) : nullptr;
  if (found) *found = *entry ? cudaDriverEntryPointSuccess : cudaDriverEntryPointSymbolNotFound;
  return cudaSuccess;
}
#undef cudaGetDriverEntryPoint
API cudaError_t cudaGetDriverEntryPoint(const char* name, void** entry, unsigned long long flags, cudaDriverEntryPointQueryResult* found) {
  return cudaGetDriverEntryPointByVersion(name, entry, CUDART_VERSION, flags, found);
}
