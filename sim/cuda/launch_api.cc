// Registration by the host stubs of nvcc; launches; attributes of functions; occupancy.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "sim/cuda/memory.h"
#include "sim/cuda/work.h"

using namespace sim;

namespace {

using Lock = std::lock_guard<std::mutex>;

struct Configuration {
  dim3 grid, block;
  size_t shared;
  cudaStream_t stream;
};
thread_local std::vector<Configuration> configurations;

Kernel& kernel_of(const void* function) {
  Kernel* k = runtime().find_kernel(function);
  require(k, cudaErrorInvalidDeviceFunction);
  return *k;
}

}  // namespace

// ------------------------------------------------------------------------------------ registration

SIM_API void** __cudaRegisterFatBinary(void* wrapper) {
  Lock lock(runtime().mutex);
  auto m = std::make_unique<Module>();
  try {
    m->images = ptx_images(wrapper);
  } catch (const Error& e) {
    fprintf(stderr, "sim: %s\n", e.what());
    abort();
  }
  runtime().modules.push_back(std::move(m));
  return reinterpret_cast<void**>(runtime().modules.back().get());
}
SIM_API void __cudaRegisterFatBinaryEnd(void**) {}
SIM_API void __cudaUnregisterFatBinary(void**) {}  // at exit, when static destructors may still use kernels
SIM_API void __cudaRegisterFunction(void** handle, const char* host, char*, const char* name, int, uint3*, uint3*, dim3*, dim3*, int*) {
  Lock lock(runtime().mutex);
  runtime().kernels[host] = reinterpret_cast<Module*>(handle)->kernel(name);
}
SIM_API void __cudaRegisterVar(void** handle, char* host, char*, const char* name, int, size_t, int, int) {
  Lock lock(runtime().mutex);
  runtime().variables[host] = {reinterpret_cast<Module*>(handle), name};
}
SIM_API void __cudaRegisterHostVar(void**, const char*, char*, size_t) {}
SIM_API void __cudaRegisterManagedVar(void** handle, void** host, char*, const char* name, int, size_t bytes, int, int) {
  Lock lock(runtime().mutex);
  auto* m = reinterpret_cast<Module*>(handle);
  m->managed[name] = 0;
  m->managed_hosts.push_back({host, name});
  runtime().variables[host] = {m, name};
  (void)bytes;
}
// The host reaches a __managed__ variable through a pointer that this call has to set before its first use.
SIM_API char __cudaInitModule(void** handle) {
  Lock lock(runtime().mutex);
  auto* m = reinterpret_cast<Module*>(handle);
  if (runtime().devices.empty()) return 0;
  try {
    runtime().load(*m, *runtime().devices[size_t(this_thread().device)]);
  } catch (const Refused&) {
    return 0;
  }
  for (auto& [host, name] : m->managed_hosts) *host = reinterpret_cast<void*>(m->managed[name]);
  return 1;
}

SIM_API unsigned __cudaPushCallConfiguration(dim3 grid, dim3 block, size_t shared, CUstream_st* stream) {
  configurations.push_back({grid, block, shared, stream});
  return 0;
}
SIM_API cudaError_t __cudaPopCallConfiguration(dim3* grid, dim3* block, size_t* shared, void* stream) {
  if (configurations.empty()) return note(cudaErrorMissingConfiguration);
  const Configuration c = configurations.back();
  configurations.pop_back();
  *grid = c.grid, *block = c.block, *shared = c.shared;
  *static_cast<cudaStream_t*>(stream) = c.stream;
  return cudaSuccess;
}
SIM_API cudaError_t __cudaGetKernel(cudaKernel_t* kernel, const void* f) {
  Lock lock(runtime().mutex);
  *kernel = reinterpret_cast<cudaKernel_t>(runtime().find_kernel(f));
  return *kernel ? cudaSuccess : note(cudaErrorInvalidDeviceFunction);
}
SIM_API cudaError_t cudaGetKernel(cudaKernel_t* kernel, const void* f) { return __cudaGetKernel(kernel, f); }
SIM_API cudaError_t cudaGetFuncBySymbol(cudaFunction_t* function, const void* f) {
  return __cudaGetKernel(reinterpret_cast<cudaKernel_t*>(function), f);
}

// ---------------------------------------------------------------------------------------- launches

SIM_API cudaError_t cudaLaunchKernelExC(const cudaLaunchConfig_t* c, const void* f, void** args) {
  return api([&](Session& s) {
    require(c != nullptr);
    KernelTask t;
    t.kernel = &kernel_of(f);
    CUstream_st& stream = stream_of(s, c->stream);
    require(stream.device == &s.device, cudaErrorInvalidResourceHandle);
    t.shape.grid = {c->gridDim.x, c->gridDim.y, c->gridDim.z};
    t.shape.block = {c->blockDim.x, c->blockDim.y, c->blockDim.z};
    require(c->dynamicSmemBytes <= 1u << 30);
    t.shape.dynamic_bytes = uint32_t(c->dynamicSmemBytes);
    t.priority = stream.priority;
    cudaEvent_t completion = nullptr;
    for (unsigned n = 0; n < c->numAttrs; ++n) {
      const cudaLaunchAttributeValue& v = c->attrs[n].val;
      switch (c->attrs[n].id) {
        case cudaLaunchAttributeClusterDimension:
          t.shape.cluster = {v.clusterDim.x, v.clusterDim.y, v.clusterDim.z};
          break;
        case cudaLaunchAttributeCooperative:
          t.cooperative = v.cooperative != 0;
          break;
        case cudaLaunchAttributePriority:
          t.priority = v.priority;
          break;
        case cudaLaunchAttributeProgrammaticEvent:
          completion = v.programmaticEvent.event;
          break;
        case cudaLaunchAttributeLaunchCompletionEvent:
          completion = v.launchCompletionEvent.event;
          break;
        default:  // hints: overlap with the predecessor, cache windows, carve-outs, cluster scheduling
          break;
      }
    }
    validate_launch(s, t, args);
    enqueue(s, stream, std::move(t));
    if (completion) event_of(completion).work = enqueue(s, stream, RecordTask{completion});
  });
}
SIM_API cudaError_t cudaLaunchKernel(const void* f, dim3 grid, dim3 block, void** args, size_t shared, cudaStream_t stream) {
  cudaLaunchConfig_t c{};
  c.gridDim = grid, c.blockDim = block, c.dynamicSmemBytes = shared, c.stream = stream;
  return cudaLaunchKernelExC(&c, f, args);
}
SIM_API cudaError_t cudaLaunchCooperativeKernel(const void* f, dim3 grid, dim3 block, void** args, size_t shared, cudaStream_t stream) {
  cudaLaunchAttribute cooperative{};
  cooperative.id = cudaLaunchAttributeCooperative;
  cooperative.val.cooperative = 1;
  cudaLaunchConfig_t c{};
  c.gridDim = grid, c.blockDim = block, c.dynamicSmemBytes = shared, c.stream = stream;
  c.attrs = &cooperative, c.numAttrs = 1;
  return cudaLaunchKernelExC(&c, f, args);
}
SIM_API cudaError_t __cudaLaunchKernel(cudaKernel_t k, dim3 grid, dim3 block, void** args, size_t shared, cudaStream_t stream) {
  return cudaLaunchKernel(k, grid, block, args, shared, stream);
}

// ------------------------------------------------------------------------------------------ functions

namespace {

void set_attribute(Kernel& k, Device& d, int attribute, int value) {
  const Program& p = runtime().program(k, d);
  KernelOnDevice& on = runtime().kernel_on(k, d);
  switch (attribute) {
    case cudaFuncAttributeMaxDynamicSharedMemorySize:
      require(value >= 0 && value + int(p.static_shared) <= d.card.shared_optin());
      on.max_dynamic_shared = value;
      break;
    case cudaFuncAttributePreferredSharedMemoryCarveout:
      require(value >= -1 && value <= 100);
      on.carveout = value;
      break;
    case cudaFuncAttributeNonPortableClusterSizeAllowed:
      on.non_portable_cluster = value != 0;
      break;
    default:
      require(attribute >= 0 && attribute < cudaFuncAttributeMax);
  }
}

int blocks_per_multiprocessor(Session& s, const void* f, int threads, size_t shared) {
  Kernel& k = kernel_of(f);
  const Program& p = runtime().program(k, s.device);
  require(threads > 0);
  if (threads > 1024 || (p.function->max_threads && uint32_t(threads) > p.function->max_threads)) return 0;
  if (shared + p.static_shared > size_t(s.device.card.shared_optin())) return 0;
  return resident_blocks(s.device.card, uint64_t(threads), shared + p.static_shared);
}

Dim3 cluster_of(const cudaLaunchConfig_t* c) {
  for (unsigned n = 0; n < c->numAttrs; ++n)
    if (c->attrs[n].id == cudaLaunchAttributeClusterDimension)
      return {c->attrs[n].val.clusterDim.x, c->attrs[n].val.clusterDim.y, c->attrs[n].val.clusterDim.z};
  return {};
}

}  // namespace

SIM_API cudaError_t cudaFuncSetAttribute(const void* f, cudaFuncAttribute attribute, int value) {
  return api([&](Session& s) { set_attribute(kernel_of(f), s.device, attribute, value); });
}
SIM_API cudaError_t cudaKernelSetAttributeForDevice(cudaKernel_t k, cudaFuncAttribute attribute, int value, int device) {
  return api([&](Session&) { set_attribute(kernel_of(k), device_of(device), attribute, value); });
}
SIM_API cudaError_t cudaFuncSetCacheConfig(const void* f, cudaFuncCache) {
  return api([&](Session&) { kernel_of(f); });
}
SIM_API cudaError_t cudaFuncSetSharedMemConfig(const void* f, cudaSharedMemConfig) {
  return api([&](Session&) { kernel_of(f); });
}
SIM_API cudaError_t cudaFuncGetName(const char** name, const void* f) {
  return api([&](Session&) { *name = kernel_of(f).name.c_str(); });
}
SIM_API cudaError_t cudaFuncGetParamInfo(const void* f, size_t index, size_t* offset, size_t* size) {
  return api([&](Session& s) {
    const Program& p = runtime().program(kernel_of(f), s.device);
    require(index < p.param_sizes.size());
    *offset = p.param_offsets[index] - p.param_offsets[0];
    if (size) *size = p.param_sizes[index];
  });
}
SIM_API cudaError_t cudaFuncGetAttributes(cudaFuncAttributes* out, const void* f) {
  return api([&](Session& s) {
    Kernel& k = kernel_of(f);
    const Program& p = runtime().program(k, s.device);
    const KernelOnDevice& on = runtime().kernel_on(k, s.device);
    *out = {};
    out->sharedSizeBytes = p.static_shared;
    out->localSizeBytes = p.local_bytes;
    out->maxThreadsPerBlock = p.function->max_threads ? int(p.function->max_threads) : 1024;
    out->numRegs = 32;  // not known before ptxas
    out->ptxVersion = runtime().load(*k.owner, s.device).image->arch;
    out->binaryVersion = s.device.card.arch;
    out->maxDynamicSharedSizeBytes = on.dynamic_limit();
    out->preferredShmemCarveout = on.carveout;
    const uint32_t* cluster = p.function->cluster;
    out->clusterDimMustBeSet = cluster[0] != 0;
    out->requiredClusterWidth = int(cluster[0]), out->requiredClusterHeight = int(cluster[1]), out->requiredClusterDepth = int(cluster[2]);
    out->nonPortableClusterSizeAllowed = on.non_portable_cluster;
  });
}
SIM_API cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int* n, const void* f, int threads, size_t shared, unsigned) {
  return api([&](Session& s) { *n = blocks_per_multiprocessor(s, f, threads, shared); });
}
SIM_API cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessor(int* n, const void* f, int threads, size_t shared) {
  return cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(n, f, threads, shared, 0);
}
SIM_API cudaError_t cudaOccupancyAvailableDynamicSMemPerBlock(size_t* bytes, const void* f, int blocks, int threads) {
  return api([&](Session& s) {
    const Program& p = runtime().program(kernel_of(f), s.device);
    const Card& c = s.device.card;
    require(blocks > 0 && threads > 0 && blocks_per_multiprocessor(s, f, threads, 0) >= blocks);
    const int each = c.shared_per_multiprocessor / blocks - c.shared_reserved - int(p.static_shared);
    *bytes = size_t(std::clamp(each, 0, c.shared_optin() - int(p.static_shared)));
  });
}
SIM_API cudaError_t cudaOccupancyMaxPotentialClusterSize(int* size, const void* f, const cudaLaunchConfig_t* c) {
  return api([&](Session& s) {
    require(s.device.card.clusters(), cudaErrorNotSupported);
    Kernel& k = kernel_of(f);
    const int threads = int(c->blockDim.x * c->blockDim.y * c->blockDim.z);
    require(blocks_per_multiprocessor(s, f, threads, c->dynamicSmemBytes) > 0, cudaErrorLaunchOutOfResources);
    *size = runtime().kernel_on(k, s.device).non_portable_cluster ? 16 : 8;
  });
}
SIM_API cudaError_t cudaOccupancyMaxActiveClusters(int* n, const void* f, const cudaLaunchConfig_t* c) {
  return api([&](Session& s) {
    require(s.device.card.clusters(), cudaErrorNotSupported);
    const int threads = int(c->blockDim.x * c->blockDim.y * c->blockDim.z);
    const uint64_t blocks =
        uint64_t(s.device.card.multiprocessors) * uint64_t(blocks_per_multiprocessor(s, f, threads, c->dynamicSmemBytes));
    *n = int(blocks / std::max<uint64_t>(1, cluster_of(c).count()));
  });
}

// ------------------------------------------------------------------------------------------- symbols

namespace {

std::pair<uint64_t, uint64_t> symbol(Session& s, const void* host) {
  auto it = runtime().variables.find(host);
  require(it != runtime().variables.end(), cudaErrorInvalidSymbol);
  LoadedImage& image = runtime().load(*it->second.first, s.device);
  auto v = image.variables.find(it->second.second);
  require(v != image.variables.end(), cudaErrorInvalidSymbol);
  return v->second;
}

}  // namespace

SIM_API cudaError_t cudaGetSymbolAddress(void** p, const void* host) {
  return api([&](Session& s) { *p = reinterpret_cast<void*>(symbol(s, host).first); });
}
SIM_API cudaError_t cudaGetSymbolSize(size_t* n, const void* host) {
  return api([&](Session& s) { *n = symbol(s, host).second; });
}
