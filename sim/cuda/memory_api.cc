// Allocation: device, pinned, managed, pitched; registration; what a pointer is.
#include <algorithm>
#include <cstring>

#include "sim/cuda/graph.h"
#include "sim/cuda/memory.h"

using namespace sim;

namespace {

// Memory whose cudaFreeAsync waits in a queue is given back before an allocation fails.
uint64_t allocate_or_drain(Session& s, size_t bytes) {
  uint64_t at = allocate_device(s.device, bytes, MemoryBlock::Device);
  if (at) return at;
  wait_for_device(s, s.device);
  raise_sticky(s.device);
  at = allocate_device(s.device, bytes, MemoryBlock::Device);
  require(at, cudaErrorMemoryAllocation);
  return at;
}

void free_host(Session& s, void* p, MemoryBlock::Kind kind) {
  MemoryBlock* b = find_begin(p);
  require(b && b->kind == kind, kind == MemoryBlock::Registered ? cudaErrorHostMemoryNotRegistered : cudaErrorInvalidValue);
  const uint64_t begin = b->begin;
  for (auto& d : runtime().devices) wait_for_device(s, *d);
  release_block(begin);
}

}  // namespace

SIM_API cudaError_t cudaMalloc(void** p, size_t bytes) {
  return api([&](Session& s) {
    require(p);
    forbid_while_capturing();
    *p = bytes ? reinterpret_cast<void*>(allocate_or_drain(s, bytes)) : nullptr;
  });
}
SIM_API cudaError_t cudaFree(void* p) {
  return api([&](Session& s) {
    if (!p) return;
    forbid_while_capturing();
    MemoryBlock* b = find_begin(p);
    require(b && (b->on_device() || b->kind == MemoryBlock::Managed) && b->kind != MemoryBlock::Variable && !b->freeing);
    const uint64_t begin = b->begin;
    wait_for_device(s, device_of(b->device));
    if (b->kind == MemoryBlock::Managed)
      for (auto& d : runtime().devices) wait_for_device(s, *d);
    if (b->kind != MemoryBlock::Graph) release_block(begin);  // a graph's memory lives as long as the graph
    raise_sticky(s.device);
  });
}
SIM_API cudaError_t cudaMallocPitch(void** p, size_t* pitch, size_t width, size_t height) {
  return api([&](Session& s) {
    require(p && pitch);
    forbid_while_capturing();
    *pitch = round_up(width, 512);
    *p = width && height ? reinterpret_cast<void*>(allocate_or_drain(s, *pitch * height)) : nullptr;
  });
}
SIM_API cudaError_t cudaMalloc3D(cudaPitchedPtr* p, cudaExtent extent) {
  return api([&](Session& s) {
    require(p);
    forbid_while_capturing();
    *p = {nullptr, round_up(extent.width, 512), extent.width, extent.height};
    const size_t bytes = p->pitch * extent.height * extent.depth;
    if (bytes) p->ptr = reinterpret_cast<void*>(allocate_or_drain(s, bytes));
  });
}
#undef cudaMallocManaged
SIM_API cudaError_t cudaMallocManaged(void** p, size_t bytes, unsigned flags) {
  return api([&](Session& s) {
    require(p && bytes && (flags == cudaMemAttachGlobal || flags == cudaMemAttachHost));
    *p = reinterpret_cast<void*>(allocate_host(s.device, bytes, MemoryBlock::Managed, flags));
    require(*p, cudaErrorMemoryAllocation);
  });
}
SIM_API cudaError_t cudaMemGetInfo(size_t* free, size_t* total) {
  return api([&](Session& s) {
    if (total) *total = s.device.card.memory;
    if (free) *free = s.device.card.memory - s.device.used;
  });
}

// ------------------------------------------------------------------------------------ pinned memory

SIM_API cudaError_t cudaHostAlloc(void** p, size_t bytes, unsigned flags) {
  return api([&](Session& s) {
    require(p && flags <= (cudaHostAllocPortable | cudaHostAllocMapped | cudaHostAllocWriteCombined));
    *p = bytes ? reinterpret_cast<void*>(allocate_host(s.device, bytes, MemoryBlock::Pinned, flags | cudaHostAllocMapped)) : nullptr;
    require(*p || !bytes, cudaErrorMemoryAllocation);
  });
}
SIM_API cudaError_t cudaMallocHost(void** p, size_t bytes) { return cudaHostAlloc(p, bytes, cudaHostAllocDefault); }
SIM_API cudaError_t cudaFreeHost(void* p) {
  return api([&](Session& s) {
    if (p) free_host(s, p, MemoryBlock::Pinned);
  });
}
SIM_API cudaError_t cudaHostRegister(void* p, size_t bytes, unsigned flags) {
  return api([&](Session& s) {
    require(p && bytes);
    const uint64_t begin = reinterpret_cast<uint64_t>(p);
    require(!find_block(p) && !find_block(static_cast<char*>(p) + bytes - 1), cudaErrorHostMemoryAlreadyRegistered);
    register_host(s.device, begin, bytes, flags);
  });
}
SIM_API cudaError_t cudaHostUnregister(void* p) {
  return api([&](Session& s) { free_host(s, p, MemoryBlock::Registered); });
}
SIM_API cudaError_t cudaHostGetDevicePointer(void** device, void* host, unsigned flags) {
  return api([&](Session&) {
    const MemoryBlock* b = find_block(host);
    require(flags == 0 && b && b->on_host());
    *device = host;
  });
}
SIM_API cudaError_t cudaHostGetFlags(unsigned* flags, void* host) {
  return api([&](Session&) {
    const MemoryBlock* b = find_block(host);
    require(b && b->on_host());
    *flags = b->flags;
  });
}

// ------------------------------------------------------------------------------- pointers, managed

SIM_API cudaError_t cudaPointerGetAttributes(cudaPointerAttributes* out, const void* p) {
  return api([&](Session& s) {
    *out = {};
    const MemoryBlock* b = find_block(p);
    out->device = b ? b->device : s.device.ordinal;
    if (!b) {
      out->type = cudaMemoryTypeUnregistered;
      out->device = cudaInvalidDeviceId;
      out->hostPointer = const_cast<void*>(p);
      return;
    }
    out->type = b->kind == MemoryBlock::Managed ? cudaMemoryTypeManaged : b->on_host() ? cudaMemoryTypeHost : cudaMemoryTypeDevice;
    out->devicePointer = const_cast<void*>(p);
    out->hostPointer = b->on_host() ? const_cast<void*>(p) : nullptr;
  });
}
SIM_API cudaError_t cudaMemPrefetchAsync(const void* p, size_t bytes, cudaMemLocation, unsigned, cudaStream_t stream) {
  return api([&](Session& s) {
    const MemoryBlock* b = find_block(p);
    require(b && b->kind == MemoryBlock::Managed && reinterpret_cast<uint64_t>(p) + bytes <= b->begin + b->bytes);
    enqueue(s, stream_of(s, stream), EmptyTask{});
  });
}
SIM_API cudaError_t cudaMemAdvise(const void* p, size_t, cudaMemoryAdvise, cudaMemLocation) {
  return api([&](Session&) {
    const MemoryBlock* b = find_block(p);
    require(b && b->kind == MemoryBlock::Managed);
  });
}
SIM_API cudaError_t cudaMemRangeGetAttribute(void* data, size_t bytes, cudaMemRangeAttribute, const void* p, size_t) {
  return api([&](Session&) {
    const MemoryBlock* b = find_block(p);
    require(b && b->kind == MemoryBlock::Managed);
    memset(data, 0, bytes);
  });
}
SIM_API cudaError_t cudaStreamAttachMemAsync(cudaStream_t stream, void* p, size_t, unsigned) {
  return api([&](Session& s) {
    require(find_block(p));
    enqueue(s, stream_of(s, stream), EmptyTask{});
  });
}
