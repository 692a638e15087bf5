// Copies and memsets.
#include <algorithm>
#include <cstring>

#include "sim/cuda/copy.h"
#include "sim/cuda/memory.h"

using namespace sim;

namespace sim {
namespace {

bool pageable(const void* p) { return find_block(p) == nullptr; }

// Reads the source now, as the driver's staging buffer does.
void stage(CopyTask& c) {
  auto bytes = std::make_shared<std::vector<uint8_t>>(c.width * c.height * c.depth);
  for (size_t z = 0; z < c.depth; ++z)
    for (size_t y = 0; y < c.height; ++y)
      memcpy(bytes->data() + (z * c.height + y) * c.width, c.src + z * c.src_plane + y * c.src_pitch, c.width);
  c.src = bytes->data();
  c.src_pitch = c.width;
  c.src_plane = c.width * c.height;
  c.staging = std::move(bytes);
}

}  // namespace

CopyTask flat_copy(void* dst, const void* src, size_t bytes, cudaMemcpyKind kind) {
  CopyTask c;
  c.dst = static_cast<uint8_t*>(dst);
  c.src = static_cast<const uint8_t*>(src);
  c.width = bytes;
  c.dst_pitch = c.src_pitch = c.dst_plane = c.src_plane = bytes;
  c.kind = kind;
  return c;
}

CopyTask copy_of(const cudaMemcpy3DParms& p) {
  require(!p.srcArray && !p.dstArray, cudaErrorNotSupported);
  require(p.srcPtr.ptr && p.dstPtr.ptr);
  CopyTask c;
  c.width = p.extent.width, c.height = p.extent.height, c.depth = p.extent.depth;
  c.src_pitch = p.srcPtr.pitch, c.dst_pitch = p.dstPtr.pitch;
  c.src_plane = p.srcPtr.pitch * p.srcPtr.ysize, c.dst_plane = p.dstPtr.pitch * p.dstPtr.ysize;
  require(c.height <= 1 || (c.src_pitch >= p.srcPos.x + c.width && c.dst_pitch >= p.dstPos.x + c.width), cudaErrorInvalidPitchValue);
  c.src = static_cast<const uint8_t*>(p.srcPtr.ptr) + p.srcPos.z * c.src_plane + p.srcPos.y * c.src_pitch + p.srcPos.x;
  c.dst = static_cast<uint8_t*>(p.dstPtr.ptr) + p.dstPos.z * c.dst_plane + p.dstPos.y * c.dst_pitch + p.dstPos.x;
  c.kind = p.kind;
  return c;
}

cudaMemcpy3DParms params_of(const CopyTask& c) {
  cudaMemcpy3DParms p{};
  p.srcPtr = {const_cast<uint8_t*>(c.src), c.src_pitch, c.width, c.src_pitch ? c.src_plane / c.src_pitch : 0};
  p.dstPtr = {c.dst, c.dst_pitch, c.width, c.dst_pitch ? c.dst_plane / c.dst_pitch : 0};
  p.extent = {c.width, c.height, c.depth};
  p.kind = c.kind;
  return p;
}

void submit_copy(Session& s, cudaStream_t handle, CopyTask c, Wait wait, std::vector<WorkRef> after) {
  CUstream_st& stream = stream_of(s, handle);
  require(c.kind >= cudaMemcpyHostToHost && c.kind <= cudaMemcpyDefault, cudaErrorInvalidMemcpyDirection);
  if (!c.width || !c.height || !c.depth) return;
  require(c.dst && c.src);
  check_copy(s.device, c);
  const bool capturing = stream.capture != nullptr;
  const bool from_pageable = pageable(c.src), to_pageable = pageable(c.dst);
  const MemoryBlock *from = find_block(c.src), *to = find_block(c.dst);
  const bool between_hosts = (!from || from->on_host()) && (!to || to->on_host());
  const bool between_devices = from && to && from->on_device() && to->on_device();
  if (from_pageable && !to_pageable && !capturing && !between_hosts) {
    // The call returns when the source has been read; the synchronous form lets the stream drain before it reads.
    if (wait == Wait::AsDocumented) {
      wait_for(s, enqueue(s, stream, EmptyTask{}, after));
      raise_sticky(s.device);
    }
    stage(c);
    enqueue(s, stream, std::move(c), std::move(after));
    return;
  }
  const WorkRef work = enqueue(s, stream, std::move(c), std::move(after));
  const bool blocks = wait == Wait::AsDocumented ? !between_devices : to_pageable || between_hosts;
  if (capturing || !blocks) return;
  wait_for(s, work);
  raise_sticky(s.device);
}

void submit_fill(Session& s, cudaStream_t handle, FillTask f) {
  CUstream_st& stream = stream_of(s, handle);
  if (!f.width || !f.height || !f.depth) return;
  check_fill(f);
  const MemoryBlock* b = find_block(f.dst);
  const WorkRef work = enqueue(s, stream, std::move(f));
  if (b && b->on_host()) wait_for(s, work);  // pinned and managed memory is set before the call returns
}

}  // namespace sim

namespace {

// The stream of a synchronous call: the default stream, the thread's own by its _ptds name.
constexpr cudaStream_t kDefault = nullptr;

CopyTask copy_2d(void* dst, size_t dpitch, const void* src, size_t spitch, size_t width, size_t height, cudaMemcpyKind kind) {
  require(width <= dpitch && width <= spitch, cudaErrorInvalidPitchValue);
  CopyTask c = flat_copy(dst, src, width, kind);
  c.height = height;
  c.dst_pitch = dpitch, c.src_pitch = spitch;
  return c;
}

FillTask fill_2d(void* p, size_t pitch, int value, size_t width, size_t height) {
  require(width <= pitch || height <= 1, cudaErrorInvalidPitchValue);
  FillTask f;
  f.dst = static_cast<uint8_t*>(p);
  f.pitch = pitch;
  f.value = uint32_t(value) & 0xff;
  f.width = width, f.height = height;
  return f;
}

FillTask fill_3d(const cudaPitchedPtr& p, int value, const cudaExtent& e) {
  FillTask f = fill_2d(p.ptr, p.pitch, value, e.width, e.height);
  f.plane = p.pitch * p.ysize;
  f.depth = e.depth;
  return f;
}

void check_owner(const void* p, int device) {
  const MemoryBlock* b = find_block(p);
  require(b && (!b->on_device() || b->device == device_of(device).ordinal));
}

std::vector<WorkRef> everything_on(Session& s, int a, int b) {
  std::vector<WorkRef> works;
  for (Device* d : {&s.device, &device_of(a), &device_of(b)})
    for (CUstream_st* stream : d->streams) works.push_back(stream->last);
  return works;
}

cudaMemcpy3DParms without_devices(const cudaMemcpy3DPeerParms& p) {
  cudaMemcpy3DParms q{};
  q.srcArray = p.srcArray, q.srcPos = p.srcPos, q.srcPtr = p.srcPtr;
  q.dstArray = p.dstArray, q.dstPos = p.dstPos, q.dstPtr = p.dstPtr;
  q.extent = p.extent;
  q.kind = cudaMemcpyDefault;
  return q;
}

}  // namespace

SIM_API cudaError_t cudaMemcpy(void* dst, const void* src, size_t bytes, cudaMemcpyKind kind) {
  return api([&](Session& s) { submit_copy(s, kDefault, flat_copy(dst, src, bytes, kind), Wait::AsDocumented); });
}
SIM_API cudaError_t cudaMemcpyAsync(void* dst, const void* src, size_t bytes, cudaMemcpyKind kind, cudaStream_t stream) {
  return api([&](Session& s) { submit_copy(s, stream, flat_copy(dst, src, bytes, kind), Wait::Never); });
}
SIM_API cudaError_t cudaMemcpy2D(void* dst, size_t dpitch, const void* src, size_t spitch, size_t width, size_t height,
                                 cudaMemcpyKind kind) {
  return api([&](Session& s) { submit_copy(s, kDefault, copy_2d(dst, dpitch, src, spitch, width, height, kind), Wait::AsDocumented); });
}
SIM_API cudaError_t cudaMemcpy2DAsync(void* dst, size_t dpitch, const void* src, size_t spitch, size_t width, size_t height,
                                      cudaMemcpyKind kind, cudaStream_t stream) {
  return api([&](Session& s) { submit_copy(s, stream, copy_2d(dst, dpitch, src, spitch, width, height, kind), Wait::Never); });
}
SIM_API cudaError_t cudaMemcpy3D(const cudaMemcpy3DParms* p) {
  return api([&](Session& s) { submit_copy(s, kDefault, copy_of(*p), Wait::AsDocumented); });
}
SIM_API cudaError_t cudaMemcpy3DAsync(const cudaMemcpy3DParms* p, cudaStream_t stream) {
  return api([&](Session& s) { submit_copy(s, stream, copy_of(*p), Wait::Never); });
}
SIM_API cudaError_t cudaMemcpyPeer(void* dst, int to, const void* src, int from, size_t bytes) {
  return api([&](Session& s) {
    check_owner(dst, to);
    check_owner(src, from);
    submit_copy(s, kDefault, flat_copy(dst, src, bytes, cudaMemcpyDefault), Wait::AsDocumented, everything_on(s, to, from));
  });
}
SIM_API cudaError_t cudaMemcpyPeerAsync(void* dst, int to, const void* src, int from, size_t bytes, cudaStream_t stream) {
  return api([&](Session& s) {
    check_owner(dst, to);
    check_owner(src, from);
    submit_copy(s, stream, flat_copy(dst, src, bytes, cudaMemcpyDefault), Wait::Never);
  });
}
SIM_API cudaError_t cudaMemcpy3DPeer(const cudaMemcpy3DPeerParms* p) {
  return api([&](Session& s) {
    submit_copy(s, kDefault, copy_of(without_devices(*p)), Wait::AsDocumented, everything_on(s, p->dstDevice, p->srcDevice));
  });
}
SIM_API cudaError_t cudaMemcpy3DPeerAsync(const cudaMemcpy3DPeerParms* p, cudaStream_t stream) {
  return api([&](Session& s) { submit_copy(s, stream, copy_of(without_devices(*p)), Wait::Never); });
}
SIM_API cudaError_t cudaMemcpyBatchAsync(void* const* dst, const void* const* src, const size_t* bytes, size_t count, cudaMemcpyAttributes*,
                                         size_t*, size_t, cudaStream_t stream) {
  return api([&](Session& s) {
    for (size_t n = 0; n < count; ++n) submit_copy(s, stream, flat_copy(dst[n], src[n], bytes[n], cudaMemcpyDefault), Wait::Never);
  });
}

// ------------------------------------------------------------------------------------------ symbols

cudaError_t sim::in_symbol(const void* symbol, size_t offset, size_t bytes, char** p) {
  size_t size = 0;
  if (const cudaError_t e = cudaGetSymbolSize(&size, symbol)) return e;
  if (offset + bytes > size) return note(cudaErrorInvalidValue);
  if (const cudaError_t e = cudaGetSymbolAddress(reinterpret_cast<void**>(p), symbol)) return e;
  *p += offset;
  return cudaSuccess;
}

SIM_API cudaError_t cudaMemcpyToSymbol(const void* symbol, const void* src, size_t bytes, size_t offset, cudaMemcpyKind kind) {
  char* p = nullptr;
  if (const cudaError_t e = in_symbol(symbol, offset, bytes, &p)) return e;
  return cudaMemcpy(p, src, bytes, kind);
}
SIM_API cudaError_t cudaMemcpyFromSymbol(void* dst, const void* symbol, size_t bytes, size_t offset, cudaMemcpyKind kind) {
  char* p = nullptr;
  if (const cudaError_t e = in_symbol(symbol, offset, bytes, &p)) return e;
  return cudaMemcpy(dst, p, bytes, kind);
}
SIM_API cudaError_t cudaMemcpyToSymbolAsync(const void* symbol, const void* src, size_t bytes, size_t offset, cudaMemcpyKind kind,
                                            cudaStream_t stream) {
  char* p = nullptr;
  if (const cudaError_t e = in_symbol(symbol, offset, bytes, &p)) return e;
  return cudaMemcpyAsync(p, src, bytes, kind, stream);
}
SIM_API cudaError_t cudaMemcpyFromSymbolAsync(void* dst, const void* symbol, size_t bytes, size_t offset, cudaMemcpyKind kind,
                                              cudaStream_t stream) {
  char* p = nullptr;
  if (const cudaError_t e = in_symbol(symbol, offset, bytes, &p)) return e;
  return cudaMemcpyAsync(dst, p, bytes, kind, stream);
}

// ------------------------------------------------------------------------------------------- memset

SIM_API cudaError_t cudaMemsetAsync(void* p, int value, size_t bytes, cudaStream_t stream) {
  return api([&](Session& s) { submit_fill(s, stream, fill_2d(p, bytes, value, bytes, 1)); });
}
SIM_API cudaError_t cudaMemset(void* p, int value, size_t bytes) { return cudaMemsetAsync(p, value, bytes, kDefault); }
SIM_API cudaError_t cudaMemset2DAsync(void* p, size_t pitch, int value, size_t width, size_t height, cudaStream_t stream) {
  return api([&](Session& s) { submit_fill(s, stream, fill_2d(p, pitch, value, width, height)); });
}
SIM_API cudaError_t cudaMemset2D(void* p, size_t pitch, int value, size_t width, size_t height) {
  return cudaMemset2DAsync(p, pitch, value, width, height, kDefault);
}
SIM_API cudaError_t cudaMemset3DAsync(cudaPitchedPtr p, int value, cudaExtent extent, cudaStream_t stream) {
  return api([&](Session& s) { submit_fill(s, stream, fill_3d(p, value, extent)); });
}
SIM_API cudaError_t cudaMemset3D(cudaPitchedPtr p, int value, cudaExtent extent) { return cudaMemset3DAsync(p, value, extent, kDefault); }
