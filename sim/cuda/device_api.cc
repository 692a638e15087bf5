// Devices: enumeration, choice, attributes, peers, limits, synchronisation, reset; errors of the thread.
#include <cstdio>
#include <cstring>

#include "sim/cuda/memory.h"
#include "sim/cuda/work.h"

using namespace sim;

SIM_API cudaError_t cudaGetDeviceCount(int* n) {
  *n = 0;
  return query([&] { *n = int(runtime().devices.size()); });
}
SIM_API cudaError_t cudaSetDevice(int device) {
  return query([&] { this_thread().device = device_of(device).ordinal; });
}
SIM_API cudaError_t cudaInitDevice(int device, unsigned, unsigned) {
  return query([&] { device_of(device); });
}
SIM_API cudaError_t cudaGetDevice(int* device) {
  return query([&] { *device = this_thread().device; });
}
SIM_API cudaError_t cudaSetValidDevices(int* devices, int n) {
  return query([&] {
    for (int k = 0; k < n; ++k) device_of(devices[k]);
  });
}
SIM_API cudaError_t cudaSetDeviceFlags(unsigned flags) {
  return query([&] { device_of(this_thread().device).flags = flags; });
}
SIM_API cudaError_t cudaGetDeviceFlags(unsigned* flags) {
  return query([&] { *flags = device_of(this_thread().device).flags; });
}
SIM_API cudaError_t cudaChooseDevice(int* device, const cudaDeviceProp* wanted) {
  return query([&] {
    *device = 0;
    for (auto& d : runtime().devices)
      if (d->card.arch >= wanted->major * 10 + wanted->minor) {
        *device = d->ordinal;
        return;
      }
  });
}

// Version queries work without a driver: its version is 0 then.
SIM_API cudaError_t cudaDriverGetVersion(int* version) {
  *version = runtime().driver_version;
  return cudaSuccess;
}
SIM_API cudaError_t cudaRuntimeGetVersion(int* version) {
  *version = CUDART_VERSION;
  return cudaSuccess;
}

SIM_API cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int device) {
  return query([&] {
    const Device& d = device_of(device);
    require(card_attribute(d.card, d.ordinal, attribute, value) == cudaSuccess);
  });
}
#undef cudaGetDeviceProperties
SIM_API cudaError_t cudaGetDeviceProperties(cudaDeviceProp* p, int device) {
  return query([&] {
    const Device& d = device_of(device);
    *p = card_properties(d.card, d.ordinal);
  });
}
SIM_API cudaError_t cudaGetDeviceProperties_v2(cudaDeviceProp* p, int device) { return cudaGetDeviceProperties(p, device); }
SIM_API cudaError_t cudaDeviceGetPCIBusId(char* text, int length, int device) {
  return query([&] { snprintf(text, size_t(length), "0000:%02X:00.0", device_of(device).ordinal + 1); });
}
SIM_API cudaError_t cudaDeviceGetByPCIBusId(int* device, const char* text) {
  return query([&] {
    unsigned domain = 0, bus = 0;
    require(sscanf(text, "%x:%x", &domain, &bus) == 2);
    *device = device_of(int(bus) - 1).ordinal;
  });
}

// ------------------------------------------------------------------------------------------- peers

SIM_API cudaError_t cudaDeviceCanAccessPeer(int* can, int device, int peer) {
  return query([&] { *can = &device_of(device) != &device_of(peer); });
}
SIM_API cudaError_t cudaDeviceEnablePeerAccess(int peer, unsigned flags) {
  return api([&](Session& s) {
    require(flags == 0);
    const uint64_t bit = 1ull << device_of(peer).ordinal;
    require(peer != s.device.ordinal, cudaErrorInvalidDevice);
    require(!(s.device.peers & bit), cudaErrorPeerAccessAlreadyEnabled);
    s.device.peers |= bit;
  });
}
SIM_API cudaError_t cudaDeviceDisablePeerAccess(int peer) {
  return api([&](Session& s) {
    const uint64_t bit = 1ull << device_of(peer).ordinal;
    require(s.device.peers & bit, cudaErrorPeerAccessNotEnabled);
    wait_for_device(s, s.device);
    s.device.peers &= ~bit;
  });
}
SIM_API cudaError_t cudaDeviceGetP2PAttribute(int* value, cudaDeviceP2PAttr attribute, int source, int target) {
  return query([&] {
    require(&device_of(source) != &device_of(target), cudaErrorInvalidDevice);
    *value = attribute == cudaDevP2PAttrAccessSupported || attribute == cudaDevP2PAttrNativeAtomicSupported;
  });
}

// ------------------------------------------------------------------------- limits and configuration

SIM_API cudaError_t cudaDeviceSetLimit(cudaLimit limit, size_t value) {
  return api([&](Session& s) { s.device.limits[limit] = value; });
}
SIM_API cudaError_t cudaDeviceGetLimit(size_t* value, cudaLimit limit) {
  return api([&](Session& s) {
    auto it = s.device.limits.find(limit);
    const size_t usual = limit == cudaLimitStackSize        ? 1024
                         : limit == cudaLimitPrintfFifoSize ? 1 << 20
                         : limit == cudaLimitMallocHeapSize ? 8 << 20
                                                            : 0;
    *value = it == s.device.limits.end() ? usual : it->second;
  });
}
SIM_API cudaError_t cudaDeviceGetCacheConfig(cudaFuncCache* config) {
  return api([&](Session&) { *config = cudaFuncCachePreferNone; });
}
SIM_API cudaError_t cudaDeviceSetCacheConfig(cudaFuncCache) {
  return api([](Session&) {});
}
SIM_API cudaError_t cudaDeviceGetSharedMemConfig(cudaSharedMemConfig* config) {
  return api([&](Session&) { *config = cudaSharedMemBankSizeFourByte; });
}
SIM_API cudaError_t cudaDeviceSetSharedMemConfig(cudaSharedMemConfig) {
  return api([](Session&) {});
}
SIM_API cudaError_t cudaCtxResetPersistingL2Cache() {
  return api([](Session&) {});
}
SIM_API cudaError_t cudaDeviceGetStreamPriorityRange(int* least, int* greatest) {
  return api([&](Session&) {
    if (least) *least = 0;
    if (greatest) *greatest = -5;
  });
}
SIM_API cudaError_t cudaDeviceFlushGPUDirectRDMAWrites(cudaFlushGPUDirectRDMAWritesTarget, cudaFlushGPUDirectRDMAWritesScope) {
  return api([](Session&) {});
}
SIM_API cudaError_t cudaProfilerStart() {
  return query([] {});
}
SIM_API cudaError_t cudaProfilerStop() {
  return query([] {});
}

// -------------------------------------------------------------------------- synchronisation, errors

SIM_API cudaError_t cudaDeviceSynchronize() {
  return api([](Session& s) {
    for (CUstream_st* stream : s.device.streams) require(!stream->capture, cudaErrorStreamCaptureUnsupported);
    wait_for_device(s, s.device);
    raise_sticky(s.device);
  });
}
SIM_API cudaError_t cudaDeviceReset() {
  return query([&] {
    reset_device(device_of(this_thread().device));
    this_thread().last = cudaSuccess;
  });
}

namespace {

// A fault stays the last error until the device is reset; a refused call's code is returned once.
cudaError_t last_error(bool clear) {
  cudaError_t& last = this_thread().last;
  if (driver_problem() == cudaSuccess) {
    std::lock_guard<std::mutex> lock(runtime().mutex);
    const Device& d = *runtime().devices[size_t(this_thread().device)];
    if (d.sticky_seen) return d.sticky;
    if (last != cudaSuccess && last == d.sticky) return last;
  }
  return clear ? std::exchange(last, cudaSuccess) : last;
}

}  // namespace

SIM_API cudaError_t cudaGetLastError() { return last_error(true); }
SIM_API cudaError_t cudaPeekAtLastError() { return last_error(false); }
