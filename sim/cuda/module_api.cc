// Code that a program loads itself: driver modules, functions and their launches, libraries of both APIs.
#include <cstdio>
#include <cstring>
#include <fstream>
#include <sstream>

#include "sim/cuda/driver.h"
#include "sim/cuda/work.h"

using namespace sim;

namespace {

struct JitLog {
  char* text = nullptr;
  size_t size = 0;
};

JitLog error_log(unsigned count, const CUjit_option* keys, void* const* values) {
  JitLog log;
  for (unsigned k = 0; k < count; ++k) {
    if (keys[k] == CU_JIT_ERROR_LOG_BUFFER) log.text = static_cast<char*>(values[k]);
    if (keys[k] == CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES) log.size = reinterpret_cast<size_t>(values[k]);
  }
  return log;
}

Module& module_of(const void* handle) {
  for (auto& m : runtime().modules)
    if (m.get() == handle) return *m;
  refuse(cudaErrorInvalidResourceHandle);
}

// Loads what cuModuleLoadData takes: PTX text, a fat binary, nvcc's wrapper of one. As a JIT does, it finds errors in all kernels now.
Module* load(Session& s, const void* image) {
  require(image);
  auto owned = std::make_unique<Module>();
  Module* m = owned.get();
  try {
    m->images = images_of(image);
  } catch (const Error& e) {
    runtime().report(e.what());
    refuse(cudaErrorInvalidKernelImage);
  }
  require(!m->images.empty(), cudaErrorNoKernelImageForDevice);
  runtime().modules.push_back(std::move(owned));
  try {
    LoadedImage& loaded = runtime().load(*m, s.device);
    for (const auto& f : loaded.module->functions)
      if (f->entry) runtime().program(*m->kernel(f->name), s.device);
  } catch (...) {
    runtime().unload(m);
    throw;
  }
  return m;
}

CUresult load(void** out, const void* image, JitLog log) {
  const cudaError_t e = api([&](Session& s) { *out = load(s, image); });
  if (e != cudaSuccess && log.text && log.size) snprintf(log.text, log.size, "%s", runtime().message.c_str());
  return driver_result(e);
}

std::string read_file(const char* name) {
  std::ifstream in(name, std::ios::binary);
  require(bool(in), cudaErrorFileNotFound);
  std::stringstream text;
  text << in.rdbuf();
  return text.str();
}

Kernel* find_kernel(Session& s, Module& m, const char* name) {
  const ptx::Function* f = runtime().load(m, s.device).module->find(name);
  require(f && f->entry, cudaErrorSymbolNotFound);
  return m.kernel(name);
}

void find_variable(Session& s, Module& m, const char* name, void** address, size_t* bytes) {
  LoadedImage& image = runtime().load(m, s.device);
  auto v = image.variables.find(name);
  require(v != image.variables.end(), cudaErrorSymbolNotFound);
  if (address) *address = reinterpret_cast<void*>(v->second.first);
  if (bytes) *bytes = v->second.second;
}

// Arguments given as one buffer (CU_LAUNCH_PARAM_BUFFER_POINTER): a pointer to each parameter.
cudaError_t spread(CUfunction f, void** extra, std::vector<void*>& pointers) {
  const char* buffer = nullptr;
  for (; *extra != CU_LAUNCH_PARAM_END; extra += 2)
    if (extra[0] == CU_LAUNCH_PARAM_BUFFER_POINTER) buffer = static_cast<const char*>(extra[1]);
  return api([&](Session& s) {
    Kernel* k = runtime().find_kernel(f);
    require(buffer && k);
    const Program& p = runtime().program(*k, s.device);
    for (size_t offset : p.param_offsets) pointers.push_back(const_cast<char*>(buffer) + offset - p.param_offsets[0]);
  });
}

}  // namespace

// ----------------------------------------------------------------------------------- driver: modules

SIM_API CUresult cuModuleLoadDataEx(CUmodule* m, const void* image, unsigned count, CUjit_option* keys, void** values) {
  return load(reinterpret_cast<void**>(m), image, error_log(count, keys, values));
}
SIM_API CUresult cuModuleLoadData(CUmodule* m, const void* image) { return load(reinterpret_cast<void**>(m), image, {}); }
SIM_API CUresult cuModuleLoadFatBinary(CUmodule* m, const void* image) { return load(reinterpret_cast<void**>(m), image, {}); }
SIM_API CUresult cuModuleLoad(CUmodule* m, const char* file) {
  return driver_result(api([&](Session& s) { *m = reinterpret_cast<CUmodule>(load(s, read_file(file).c_str())); }));
}
SIM_API CUresult cuModuleUnload(CUmodule m) {
  return driver_result(api([&](Session& s) {
    wait_for_device(s, s.device);
    runtime().unload(&module_of(m));
  }));
}
SIM_API CUresult cuModuleGetFunction(CUfunction* f, CUmodule m, const char* name) {
  return driver_result(api([&](Session& s) { *f = reinterpret_cast<CUfunction>(find_kernel(s, module_of(m), name)); }));
}
SIM_API CUresult cuModuleGetGlobal_v2(CUdeviceptr* p, size_t* bytes, CUmodule m, const char* name) {
  return driver_result(api([&](Session& s) { find_variable(s, module_of(m), name, reinterpret_cast<void**>(p), bytes); }));
}
SIM_API CUresult cuModuleGetLoadingMode(CUmoduleLoadingMode* mode) {
  *mode = CU_MODULE_EAGER_LOADING;
  return CUDA_SUCCESS;
}

// --------------------------------------------------------------------------------- driver: functions

SIM_API CUresult cuFuncSetAttribute(CUfunction f, CUfunction_attribute a, int value) {
  return driver_result(cudaFuncSetAttribute(f, cudaFuncAttribute(a), value));
}
SIM_API CUresult cuFuncSetCacheConfig(CUfunction f, CUfunc_cache config) {
  return driver_result(cudaFuncSetCacheConfig(f, cudaFuncCache(config)));
}
SIM_API CUresult cuFuncGetAttribute(int* value, CUfunction_attribute a, CUfunction f) {
  cudaFuncAttributes all{};
  if (const cudaError_t e = cudaFuncGetAttributes(&all, f)) return driver_result(e);
  switch (a) {
    case CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK:
      *value = all.maxThreadsPerBlock;
      break;
    case CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES:
      *value = int(all.sharedSizeBytes);
      break;
    case CU_FUNC_ATTRIBUTE_CONST_SIZE_BYTES:
      *value = int(all.constSizeBytes);
      break;
    case CU_FUNC_ATTRIBUTE_LOCAL_SIZE_BYTES:
      *value = int(all.localSizeBytes);
      break;
    case CU_FUNC_ATTRIBUTE_NUM_REGS:
      *value = all.numRegs;
      break;
    case CU_FUNC_ATTRIBUTE_PTX_VERSION:
      *value = all.ptxVersion;
      break;
    case CU_FUNC_ATTRIBUTE_BINARY_VERSION:
      *value = all.binaryVersion;
      break;
    case CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES:
      *value = all.maxDynamicSharedSizeBytes;
      break;
    case CU_FUNC_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT:
      *value = all.preferredShmemCarveout;
      break;
    case CU_FUNC_ATTRIBUTE_NON_PORTABLE_CLUSTER_SIZE_ALLOWED:
      *value = all.nonPortableClusterSizeAllowed;
      break;
    default:
      *value = 0;
  }
  return CUDA_SUCCESS;
}
SIM_API CUresult cuFuncGetName(const char** name, CUfunction f) { return driver_result(cudaFuncGetName(name, f)); }

SIM_API CUresult cuLaunchKernelEx(const CUlaunchConfig* c, CUfunction f, void** params, void** extra) {
  static_assert(sizeof(CUlaunchAttribute) == sizeof(cudaLaunchAttribute));
  if (!c) return CUDA_ERROR_INVALID_VALUE;
  std::vector<void*> pointers;
  if (extra) {
    if (const cudaError_t e = spread(f, extra, pointers)) return driver_result(e);
    params = pointers.data();
  }
  cudaLaunchConfig_t config{};
  config.gridDim = dim3(c->gridDimX, c->gridDimY, c->gridDimZ);
  config.blockDim = dim3(c->blockDimX, c->blockDimY, c->blockDimZ);
  config.dynamicSmemBytes = c->sharedMemBytes;
  config.stream = c->hStream;
  config.attrs = reinterpret_cast<cudaLaunchAttribute*>(c->attrs);
  config.numAttrs = c->numAttrs;
  return driver_result(cudaLaunchKernelExC(&config, f, params));
}
SIM_API CUresult cuLaunchKernel(CUfunction f, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz, unsigned shared,
                                CUstream stream, void** params, void** extra) {
  CUlaunchConfig c{};
  c.gridDimX = gx, c.gridDimY = gy, c.gridDimZ = gz;
  c.blockDimX = bx, c.blockDimY = by, c.blockDimZ = bz;
  c.sharedMemBytes = shared, c.hStream = stream;
  return cuLaunchKernelEx(&c, f, params, extra);
}
SIM_API CUresult cuLaunchCooperativeKernel(CUfunction f, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
                                           unsigned shared, CUstream stream, void** params) {
  return driver_result(cudaLaunchCooperativeKernel(f, dim3(gx, gy, gz), dim3(bx, by, bz), params, shared, stream));
}
SIM_API CUresult cuLaunchHostFunc(CUstream stream, CUhostFn f, void* data) { return driver_result(cudaLaunchHostFunc(stream, f, data)); }
SIM_API CUresult cuOccupancyMaxActiveBlocksPerMultiprocessor(int* n, CUfunction f, int threads, size_t shared) {
  return driver_result(cudaOccupancyMaxActiveBlocksPerMultiprocessor(n, f, threads, shared));
}
SIM_API CUresult cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int* n, CUfunction f, int threads, size_t shared, unsigned flags) {
  return driver_result(cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(n, f, threads, shared, flags));
}

// ---------------------------------------------------------------------------------------- libraries

SIM_API CUresult cuLibraryLoadData(CUlibrary* library, const void* code, CUjit_option* keys, void** values, unsigned count,
                                   CUlibraryOption*, void**, unsigned) {
  return load(reinterpret_cast<void**>(library), code, error_log(count, keys, values));
}
SIM_API CUresult cuLibraryLoadFromFile(CUlibrary* library, const char* file, CUjit_option*, void**, unsigned, CUlibraryOption*, void**,
                                       unsigned) {
  return cuModuleLoad(reinterpret_cast<CUmodule*>(library), file);
}
SIM_API CUresult cuLibraryUnload(CUlibrary library) { return cuModuleUnload(reinterpret_cast<CUmodule>(library)); }
SIM_API CUresult cuLibraryGetKernel(CUkernel* kernel, CUlibrary library, const char* name) {
  return cuModuleGetFunction(reinterpret_cast<CUfunction*>(kernel), reinterpret_cast<CUmodule>(library), name);
}
SIM_API CUresult cuLibraryGetModule(CUmodule* m, CUlibrary library) {
  *m = reinterpret_cast<CUmodule>(library);
  return CUDA_SUCCESS;
}
SIM_API CUresult cuLibraryGetGlobal(CUdeviceptr* p, size_t* bytes, CUlibrary library, const char* name) {
  return cuModuleGetGlobal_v2(p, bytes, reinterpret_cast<CUmodule>(library), name);
}
SIM_API CUresult cuKernelGetFunction(CUfunction* f, CUkernel kernel) {
  *f = reinterpret_cast<CUfunction>(kernel);
  return CUDA_SUCCESS;
}
SIM_API CUresult cuKernelSetAttribute(CUfunction_attribute a, int value, CUkernel kernel, CUdevice device) {
  return driver_result(cudaKernelSetAttributeForDevice(reinterpret_cast<cudaKernel_t>(kernel), cudaFuncAttribute(a), value, device));
}
SIM_API CUresult cuKernelGetAttribute(int* value, CUfunction_attribute a, CUkernel kernel, CUdevice) {
  return cuFuncGetAttribute(value, a, reinterpret_cast<CUfunction>(kernel));
}

SIM_API cudaError_t cudaLibraryLoadData(cudaLibrary_t* library, const void* code, cudaJitOption*, void**, unsigned, cudaLibraryOption*,
                                        void**, unsigned) {
  return api([&](Session& s) { *library = reinterpret_cast<cudaLibrary_t>(load(s, code)); });
}
SIM_API cudaError_t cudaLibraryLoadFromFile(cudaLibrary_t* library, const char* file, cudaJitOption*, void**, unsigned, cudaLibraryOption*,
                                            void**, unsigned) {
  return api([&](Session& s) { *library = reinterpret_cast<cudaLibrary_t>(load(s, read_file(file).c_str())); });
}
SIM_API cudaError_t cudaLibraryUnload(cudaLibrary_t library) {
  return api([&](Session& s) {
    wait_for_device(s, s.device);
    runtime().unload(&module_of(library));
  });
}
SIM_API cudaError_t cudaLibraryGetKernel(cudaKernel_t* kernel, cudaLibrary_t library, const char* name) {
  return api([&](Session& s) { *kernel = reinterpret_cast<cudaKernel_t>(find_kernel(s, module_of(library), name)); });
}
SIM_API cudaError_t cudaLibraryGetGlobal(void** p, size_t* bytes, cudaLibrary_t library, const char* name) {
  return api([&](Session& s) { find_variable(s, module_of(library), name, p, bytes); });
}
SIM_API cudaError_t cudaLibraryGetKernelCount(unsigned* count, cudaLibrary_t library) {
  return api([&](Session&) { *count = unsigned(module_of(library).kernels.size()); });
}
SIM_API cudaError_t cudaLibraryEnumerateKernels(cudaKernel_t* kernels, unsigned count, cudaLibrary_t library) {
  return api([&](Session&) {
    for (auto& [name, k] : module_of(library).kernels)
      if (count-- > 0)
        *kernels++ = reinterpret_cast<cudaKernel_t>(k.get());
      else
        break;
  });
}
