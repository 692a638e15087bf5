// Allocation in the order of a stream, and memory pools.
#include <algorithm>

#include "sim/cuda/graph.h"
#include "sim/cuda/memory.h"

using namespace sim;

namespace {

cudaMemPool_t handle(Pool* p) { return reinterpret_cast<cudaMemPool_t>(p); }

Pool& pool_of(cudaMemPool_t h) {
  for (auto& d : runtime().devices)
    for (auto& p : d->pools)
      if (handle(p.get()) == h && !p->destroyed) return *p;
  refuse(cudaErrorInvalidValue);
}

void allocate(Session& s, void** out, size_t bytes, Pool* pool, cudaStream_t handle) {
  CUstream_st& stream = stream_of(s, handle);
  require(out);
  *out = nullptr;
  if (!bytes) return;
  if (stream.capture) {  // the memory of a graph
    AllocateTask task = graph_memory(*stream.device, bytes);
    *out = reinterpret_cast<void*>(task.address);
    return capture_task(stream, std::move(task));
  }
  if (!pool) pool = stream.device->pool;
  Device& d = *pool->device;
  uint64_t at = allocate_device(d, bytes, MemoryBlock::Pooled, pool);
  if (!at) {  // what is being freed may be what is missing
    wait_for_device(s, d);
    raise_sticky(d);
    at = allocate_device(d, bytes, MemoryBlock::Pooled, pool);
  }
  require(at, cudaErrorMemoryAllocation);
  *out = reinterpret_cast<void*>(at);
}

uint64_t* counter(Pool& p, cudaMemPoolAttr attribute) {
  switch (attribute) {
    case cudaMemPoolAttrReleaseThreshold:
      return &p.threshold;
    case cudaMemPoolAttrReservedMemCurrent:
      return &p.reserved;
    case cudaMemPoolAttrReservedMemHigh:
      return &p.reserved_high;
    case cudaMemPoolAttrUsedMemCurrent:
      return &p.used;
    case cudaMemPoolAttrUsedMemHigh:
      return &p.used_high;
    default:
      return nullptr;
  }
}
int* flag(Pool& p, cudaMemPoolAttr attribute) {
  switch (attribute) {
    case cudaMemPoolReuseFollowEventDependencies:
      return &p.reuse_event;
    case cudaMemPoolReuseAllowOpportunistic:
      return &p.reuse_opportunistic;
    case cudaMemPoolReuseAllowInternalDependencies:
      return &p.reuse_internal;
    default:
      refuse(cudaErrorInvalidValue);
  }
}

}  // namespace

SIM_API cudaError_t cudaMallocAsync(void** p, size_t bytes, cudaStream_t stream) {
  return api([&](Session& s) { allocate(s, p, bytes, nullptr, stream); });
}
SIM_API cudaError_t cudaMallocFromPoolAsync(void** p, size_t bytes, cudaMemPool_t pool, cudaStream_t stream) {
  return api([&](Session& s) { allocate(s, p, bytes, &pool_of(pool), stream); });
}
SIM_API cudaError_t cudaFreeAsync(void* p, cudaStream_t stream) {
  return api([&](Session& s) {
    CUstream_st& st = stream_of(s, stream);
    if (!p) return;
    MemoryBlock* b = find_begin(p);
    require(b && (b->kind == MemoryBlock::Pooled || b->kind == MemoryBlock::Graph) && !b->freeing);
    b->freeing = b->kind == MemoryBlock::Pooled && !st.capture;
    enqueue(s, st, FreeTask{b->begin});
  });
}

SIM_API cudaError_t cudaDeviceGetDefaultMemPool(cudaMemPool_t* pool, int device) {
  return api([&](Session&) { *pool = handle(device_of(device).pools[0].get()); });
}
SIM_API cudaError_t cudaDeviceGetMemPool(cudaMemPool_t* pool, int device) {
  return api([&](Session&) { *pool = handle(device_of(device).pool); });
}
SIM_API cudaError_t cudaDeviceSetMemPool(int device, cudaMemPool_t pool) {
  return api([&](Session&) {
    require(pool_of(pool).device == &device_of(device));
    device_of(device).pool = &pool_of(pool);
  });
}
SIM_API cudaError_t cudaMemPoolCreate(cudaMemPool_t* pool, const cudaMemPoolProps* props) {
  return api([&](Session&) {
    require(pool && props && props->allocType == cudaMemAllocationTypePinned && props->location.type == cudaMemLocationTypeDevice);
    require(props->handleTypes == cudaMemHandleTypeNone, cudaErrorNotSupported);
    Device& d = device_of(props->location.id);
    d.pools.push_back(std::make_unique<Pool>());
    d.pools.back()->device = &d;
    d.pools.back()->limit = props->maxSize;
    *pool = handle(d.pools.back().get());
  });
}
SIM_API cudaError_t cudaMemPoolDestroy(cudaMemPool_t pool) {
  return api([&](Session&) {  // its allocations stay valid until they are freed
    Pool& p = pool_of(pool);
    require(!p.is_default);
    p.destroyed = true;
    if (p.device->pool == &p) p.device->pool = p.device->pools[0].get();
  });
}
SIM_API cudaError_t cudaMemPoolTrimTo(cudaMemPool_t pool, size_t keep) {
  return api([&](Session&) { trim(pool_of(pool), keep); });
}
SIM_API cudaError_t cudaMemPoolGetAttribute(cudaMemPool_t pool, cudaMemPoolAttr attribute, void* value) {
  return api([&](Session&) {
    Pool& p = pool_of(pool);
    if (const uint64_t* c = counter(p, attribute))
      *static_cast<uint64_t*>(value) = *c;
    else
      *static_cast<int*>(value) = *flag(p, attribute);
  });
}
SIM_API cudaError_t cudaMemPoolSetAttribute(cudaMemPool_t pool, cudaMemPoolAttr attribute, void* value) {
  return api([&](Session&) {
    Pool& p = pool_of(pool);
    const uint64_t n = counter(p, attribute) ? *static_cast<uint64_t*>(value) : 0;
    switch (attribute) {
      case cudaMemPoolAttrReleaseThreshold:
        p.threshold = n;
        break;
      case cudaMemPoolAttrReservedMemHigh:  // a high-water mark can only be set back
        require(n == 0);
        p.reserved_high = p.reserved;
        break;
      case cudaMemPoolAttrUsedMemHigh:
        require(n == 0);
        p.used_high = p.used;
        break;
      default:
        *flag(p, attribute) = *static_cast<int*>(value);
    }
  });
}
SIM_API cudaError_t cudaMemPoolSetAccess(cudaMemPool_t pool, const cudaMemAccessDesc* list, size_t count) {
  return api([&](Session&) {
    Pool& p = pool_of(pool);
    for (size_t k = 0; k < count; ++k) p.access[device_of(list[k].location.id).ordinal] = list[k].flags;
  });
}
SIM_API cudaError_t cudaMemPoolGetAccess(cudaMemAccessFlags* flags, cudaMemPool_t pool, cudaMemLocation* location) {
  return api([&](Session&) {
    Pool& p = pool_of(pool);
    const int device = device_of(location->id).ordinal;
    auto it = p.access.find(device);
    *flags = device == p.device->ordinal ? cudaMemAccessFlagsProtReadWrite : it == p.access.end() ? cudaMemAccessFlagsProtNone : it->second;
  });
}
