// What a node's parameters describe, as a task.
#include "sim/cuda/graph.h"
#include "sim/cuda/memory.h"

namespace sim {

KernelTask kernel_task(Session& s, const cudaKernelNodeParams& p) {
  require(!p.extra, cudaErrorNotSupported);
  KernelTask t;
  t.kernel = runtime().find_kernel(p.func);
  require(t.kernel, cudaErrorInvalidDeviceFunction);
  t.shape.grid = {p.gridDim.x, p.gridDim.y, p.gridDim.z};
  t.shape.block = {p.blockDim.x, p.blockDim.y, p.blockDim.z};
  t.shape.dynamic_bytes = p.sharedMemBytes;
  validate_launch(s, t, p.kernelParams);
  return t;
}

CopyTask copy_task(Session& s, const cudaMemcpy3DParms& p) {
  CopyTask c = copy_of(p);
  check_copy(s.device, c);
  return c;
}

FillTask fill_task(const cudaMemsetParams& p) {
  require(p.elementSize == 1 || p.elementSize == 2 || p.elementSize == 4);
  require(p.height <= 1 || p.pitch >= p.width * p.elementSize);
  FillTask f;
  f.dst = static_cast<uint8_t*>(p.dst);
  f.pitch = p.pitch;
  f.value = p.value;
  f.element_bytes = p.elementSize;
  f.width = p.width, f.height = p.height;
  check_fill(f);
  return f;
}

HostTask host_task(cudaHostFn_t f, void* data) {
  require(f);
  return {[f, data](cudaError_t) { f(data); }, false, f, data};
}

AllocateTask graph_memory(Device& d, size_t bytes) {
  require(bytes);
  const uint64_t at = allocate_device(d, bytes, MemoryBlock::Graph);
  require(at, cudaErrorMemoryAllocation);
  return {at, bytes, d.ordinal, std::shared_ptr<void>(reinterpret_cast<void*>(at), [at](void*) { release_block(at); })};
}

Task task_from(Session& s, const cudaGraphNodeParams& p) {
  switch (p.type) {
    case cudaGraphNodeTypeKernel: {
      const auto& k = p.kernel;
      return kernel_task(s, {k.func, k.gridDim, k.blockDim, k.sharedMemBytes, k.kernelParams, k.extra});
    }
    case cudaGraphNodeTypeMemcpy:
      return copy_task(s, p.memcpy.copyParams);
    case cudaGraphNodeTypeMemset: {
      const auto& m = p.memset;
      return fill_task({m.dst, m.pitch, m.value, m.elementSize, m.width, m.height});
    }
    case cudaGraphNodeTypeHost:
      return host_task(p.host.fn, p.host.userData);
    case cudaGraphNodeTypeEmpty:
      return EmptyTask{};
    case cudaGraphNodeTypeWaitEvent:
      event_of(p.eventWait.event);
      return WaitTask{p.eventWait.event};
    case cudaGraphNodeTypeEventRecord:
      event_of(p.eventRecord.event);
      return RecordTask{p.eventRecord.event};
    case cudaGraphNodeTypeMemAlloc:
      return graph_memory(device_of(p.alloc.poolProps.location.id), p.alloc.bytesize);
    case cudaGraphNodeTypeMemFree:
      require(find_begin(p.free.dptr));
      return FreeTask{reinterpret_cast<uint64_t>(p.free.dptr)};
    default:
      refuse(cudaErrorNotSupported);
  }
}

}  // namespace sim
