// The driver entry points that run_case needs, on the PTX simulator's runtime.
#include <cstdio>
#include <cstring>

#include "sim/cuda/runtime.h"

using namespace sim;
#define API extern "C" __attribute__((visibility("default")))

struct CUmod_st {
  LoadedModule module;
  std::vector<std::unique_ptr<Kernel>> kernels;
};
static CUresult to(cudaError_t e) { return CUresult(e); }  // the numbers that matter agree

#undef cuMemAlloc
#undef cuMemFree
#undef cuMemcpyHtoD
#undef cuMemcpyDtoH
#undef cuMemsetD8
#undef cuModuleLoadDataEx

API CUresult cuInit(unsigned) { return CUDA_SUCCESS; }
API CUresult cuDriverGetVersion(int* v) { return *v = CUDA_VERSION, CUDA_SUCCESS; }
API CUresult cuDeviceGetCount(int* n) { return *n = 1, CUDA_SUCCESS; }
API CUresult cuDeviceGet(CUdevice* d, int i) { return *d = 0, i ? CUDA_ERROR_INVALID_DEVICE : CUDA_SUCCESS; }
API CUresult cuDeviceGetAttribute(int* v, CUdevice_attribute a, CUdevice d) { return to(cudaDeviceGetAttribute(v, cudaDeviceAttr(a), d)); }
API CUresult cuDevicePrimaryCtxRetain(CUcontext* c, CUdevice) { return *c = reinterpret_cast<CUcontext>(1), CUDA_SUCCESS; }
API CUresult cuDevicePrimaryCtxRelease_v2(CUdevice) { return CUDA_SUCCESS; }
API CUresult cuCtxSetCurrent(CUcontext) { return CUDA_SUCCESS; }
API CUresult cuCtxSynchronize() { return to(cudaDeviceSynchronize()); }

API CUresult cuModuleLoadDataEx(CUmodule* out, const void* image, unsigned n, CUjit_option* keys, void** vals) {
  char* log = nullptr;
  size_t size = 0;
  for (unsigned i = 0; i < n; ++i) {
    if (keys[i] == CU_JIT_ERROR_LOG_BUFFER) log = static_cast<char*>(vals[i]);
    if (keys[i] == CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES) size = reinterpret_cast<size_t>(vals[i]);
  }
  auto m = std::make_unique<CUmod_st>();
  PtxImage p;
  p.text = static_cast<const char*>(image);
  size_t at = p.text.find(".target sm_");
  if (at == std::string::npos) return CUDA_ERROR_INVALID_PTX;
  p.target = p.text.substr(at + 8, p.text.find_first_of(" ,\r\n", at + 8) - at - 8);
  p.arch = atoi(p.target.c_str() + 3);
  if (char c = p.target.back(); c == 'a' || c == 'f') p.suffix = c;
  m->module.images.push_back(p);
  try {
    runtime().load(m->module);
  } catch (const std::exception& e) {
    if (log) snprintf(log, size, "%s", e.what());
    return CUDA_ERROR_INVALID_PTX;
  }
  *out = m.release();
  return CUDA_SUCCESS;
}
API CUresult cuModuleLoadData(CUmodule* out, const void* image) { return cuModuleLoadDataEx(out, image, 0, nullptr, nullptr); }
API CUresult cuModuleUnload(CUmodule m) { return delete m, CUDA_SUCCESS; }
API CUresult cuModuleGetFunction(CUfunction* f, CUmodule m, const char* name) {
  auto k = std::make_unique<Kernel>();
  k->owner = &m->module;
  k->name = name;
  try {
    runtime().program(*k);
  } catch (const std::exception& e) {
    fprintf(stderr, "sim: %s\n", e.what());
    return CUDA_ERROR_NOT_FOUND;
  }
  *f = reinterpret_cast<CUfunction>(k.get());
  m->kernels.push_back(std::move(k));
  return CUDA_SUCCESS;
}
API CUresult cuFuncSetAttribute(CUfunction f, CUfunction_attribute a, int v) {
  Kernel* k = reinterpret_cast<Kernel*>(f);
  if (a == CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES) {
    if (v > runtime().card.shared_optin()) return CUDA_ERROR_INVALID_VALUE;
    k->max_dynamic_shared = v;
  }
  if (a == CU_FUNC_ATTRIBUTE_NON_PORTABLE_CLUSTER_SIZE_ALLOWED) k->non_portable_cluster = v;
  return CUDA_SUCCESS;
}
API CUresult cuFuncGetAttribute(int* v, CUfunction_attribute a, CUfunction f) {
  Kernel* k = reinterpret_cast<Kernel*>(f);
  *v = a == CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES ? int(k->program->static_shared) : 0;
  return CUDA_SUCCESS;
}
static CUresult launch(CUfunction f, Launch l, bool cooperative, void** params) {
  const uint32_t resident = runtime().machine.options.resident;
  if (cooperative) runtime().machine.options.resident = uint32_t(l.grid.count());
  cudaError_t e = runtime().launch(*reinterpret_cast<Kernel*>(f), l, params);
  runtime().machine.options.resident = resident;
  return to(e);
}
API CUresult cuLaunchKernel(CUfunction f, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz, unsigned shared,
                            CUstream, void** params, void**) {
  Launch l;
  l.grid = {gx, gy, gz}, l.block = {bx, by, bz}, l.dynamic_bytes = shared;
  return launch(f, l, false, params);
}
API CUresult cuLaunchKernelEx(const CUlaunchConfig* c, CUfunction f, void** params, void**) {
  Launch l;
  l.grid = {c->gridDimX, c->gridDimY, c->gridDimZ}, l.block = {c->blockDimX, c->blockDimY, c->blockDimZ},
  l.dynamic_bytes = c->sharedMemBytes;
  bool cooperative = false;
  for (unsigned i = 0; i < c->numAttrs; ++i) {
    if (c->attrs[i].id == CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION)
      l.cluster = {c->attrs[i].value.clusterDim.x, c->attrs[i].value.clusterDim.y, c->attrs[i].value.clusterDim.z};
    if (c->attrs[i].id == CU_LAUNCH_ATTRIBUTE_COOPERATIVE) cooperative = c->attrs[i].value.cooperative;
  }
  return launch(f, l, cooperative, params);
}
API CUresult cuMemAlloc_v2(CUdeviceptr* p, size_t n) { return to(cudaMalloc(reinterpret_cast<void**>(p), n)); }
API CUresult cuMemFree_v2(CUdeviceptr p) { return to(cudaFree(reinterpret_cast<void*>(p))); }
API CUresult cuMemcpyHtoD_v2(CUdeviceptr d, const void* s, size_t n) {
  return to(cudaMemcpy(reinterpret_cast<void*>(d), s, n, cudaMemcpyHostToDevice));
}
API CUresult cuMemcpyDtoH_v2(void* d, CUdeviceptr s, size_t n) {
  return to(cudaMemcpy(d, reinterpret_cast<void*>(s), n, cudaMemcpyDeviceToHost));
}
API CUresult cuMemsetD8_v2(CUdeviceptr d, unsigned char v, size_t n) { return to(cudaMemset(reinterpret_cast<void*>(d), v, n)); }
API CUresult cuTensorMapEncodeTiled(CUtensorMap* m, CUtensorMapDataType t, cuuint32_t rank, void* base, const cuuint64_t* dims,
                                    const cuuint64_t* strides, const cuuint32_t* box, const cuuint32_t* es, CUtensorMapInterleave il,
                                    CUtensorMapSwizzle sw, CUtensorMapL2promotion l2, CUtensorMapFloatOOBfill fill) {
  return encode_tiled(m, t, rank, base, dims, strides, box, es, il, sw, l2, fill);
}
API CUresult cuGetErrorName(CUresult r, const char** s) { return *s = cudaGetErrorName(cudaError_t(r)), CUDA_SUCCESS; }
API CUresult cuGetErrorString(CUresult r, const char** s) { return *s = cudaGetErrorString(cudaError_t(r)), CUDA_SUCCESS; }
