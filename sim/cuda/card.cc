// Figures of the simulated cards, their attributes and properties.
#include "sim/cuda/card.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace sim {
namespace {

constexpr int kKi = 1 << 10, kMi = 1 << 20;

Card card_of(int arch) {
  Card c;
  c.arch = arch;
  switch (arch) {
    case 75:
      c.threads_per_multiprocessor = 1024, c.blocks_per_multiprocessor = 16;
      c.shared_per_multiprocessor = 64 * kKi, c.shared_reserved = 0;
      c.l2_bytes = 4 * kMi, c.clock_khz = 1590000, c.memory_clock_khz = 5001000, c.memory_bus_bits = 256, c.double_ratio = 32;
      break;
    case 80:
      break;
    case 86:
      c.threads_per_multiprocessor = 1536, c.blocks_per_multiprocessor = 16;
      c.shared_per_multiprocessor = 100 * kKi;
      c.l2_bytes = 6 * kMi, c.clock_khz = 1695000, c.memory_clock_khz = 6251000, c.memory_bus_bits = 384, c.double_ratio = 64;
      break;
    case 87:
      c.threads_per_multiprocessor = 1536, c.blocks_per_multiprocessor = 16;
      c.l2_bytes = 4 * kMi, c.clock_khz = 1300000, c.memory_clock_khz = 3200000, c.memory_bus_bits = 256, c.double_ratio = 64;
      break;
    case 89:
      c.threads_per_multiprocessor = 1536, c.blocks_per_multiprocessor = 24;
      c.shared_per_multiprocessor = 100 * kKi;
      c.l2_bytes = 48 * kMi, c.clock_khz = 2040000, c.memory_clock_khz = 6251000, c.memory_bus_bits = 192, c.double_ratio = 64;
      break;
    case 90:
      c.shared_per_multiprocessor = 228 * kKi;
      c.l2_bytes = 50 * kMi, c.clock_khz = 1980000, c.memory_clock_khz = 2619000;
      break;
    case 100:
    case 103:
      c.shared_per_multiprocessor = 228 * kKi;
      c.l2_bytes = 126 * kMi, c.clock_khz = 1965000, c.memory_clock_khz = 3996000, c.memory_bus_bits = 8192;
      break;
    case 120:
    case 121:
      c.threads_per_multiprocessor = 1536, c.blocks_per_multiprocessor = 24;
      c.shared_per_multiprocessor = 100 * kKi;
      c.l2_bytes = 96 * kMi, c.clock_khz = 2407000, c.memory_clock_khz = 14001000, c.memory_bus_bits = 512, c.double_ratio = 64;
      break;
    default:
      fprintf(stderr, "sim: SIM_CARDS: expected architectures out of 75, 80, 86, 87, 89, 90, 100, 103, 120, 121, got %d\n", arch);
      abort();
  }
  return c;
}

uint64_t bytes_of(const char* text) {
  char* end = nullptr;
  const double n = strtod(text, &end);
  const int shift = *end == 'G' ? 30 : *end == 'M' ? 20 : *end == 'K' ? 10 : 0;
  return uint64_t(n * double(1ull << shift));
}

}  // namespace

std::vector<Card> cards_from_environment() {
  const char* list = getenv("SIM_CARDS");
  const char* memory = getenv("SIM_MEMORY");
  const char* multiprocessors = getenv("SIM_SMS");
  std::vector<Card> cards;
  for (const char* p = list ? list : "80"; *p; p += *p == ',') {
    const size_t n = strcspn(p, ",");
    std::string item(p, n);
    p += n;
    if (item.rfind("sm_", 0) == 0) item.erase(0, 3);
    if (item.empty() || item == "none") continue;
    Card c = card_of(atoi(item.c_str()));
    c.memory = memory ? bytes_of(memory) : uint64_t(4) << 30;
    if (multiprocessors) c.multiprocessors = std::max(1, atoi(multiprocessors));
    cards.push_back(c);
  }
  return cards;
}

int resident_blocks(const Card& card, uint64_t threads, uint64_t shared_bytes) {
  const uint64_t warps = std::max<uint64_t>(1, (threads + 31) / 32);
  const uint64_t by_threads = uint64_t(card.threads_per_multiprocessor) / (warps * 32);
  const uint64_t used = shared_bytes + uint64_t(card.shared_reserved);
  const uint64_t by_shared = used ? uint64_t(card.shared_per_multiprocessor) / used : ~0ull;
  return int(std::min({by_threads, by_shared, uint64_t(card.blocks_per_multiprocessor)}));
}

cudaError_t card_attribute(const Card& c, int ordinal, int attribute, int* value) {
  if (attribute <= 0 || attribute >= cudaDevAttrMax) return cudaErrorInvalidValue;
  auto figure = [&]() -> int {
    switch (attribute) {
      case cudaDevAttrMaxThreadsPerBlock:
      case cudaDevAttrMaxBlockDimX:
      case cudaDevAttrMaxBlockDimY:
        return 1024;
      case cudaDevAttrMaxBlockDimZ:
        return 64;
      case cudaDevAttrMaxGridDimX:
      case cudaDevAttrMaxPitch:
        return 0x7fffffff;
      case cudaDevAttrMaxGridDimY:
      case cudaDevAttrMaxGridDimZ:
        return 65535;
      case cudaDevAttrMaxSharedMemoryPerBlock:
        return 48 * kKi;
      case cudaDevAttrMaxSharedMemoryPerBlockOptin:
        return c.shared_optin();
      case cudaDevAttrMaxSharedMemoryPerMultiprocessor:
        return c.shared_per_multiprocessor;
      case cudaDevAttrReservedSharedMemoryPerBlock:
        return c.shared_reserved;
      case cudaDevAttrTotalConstantMemory:
        return 64 * kKi;
      case cudaDevAttrWarpSize:
        return 32;
      case cudaDevAttrMaxRegistersPerBlock:
      case cudaDevAttrMaxRegistersPerMultiprocessor:
        return 65536;
      case cudaDevAttrClockRate:
        return c.clock_khz;
      case cudaDevAttrMemoryClockRate:
        return c.memory_clock_khz;
      case cudaDevAttrGlobalMemoryBusWidth:
        return c.memory_bus_bits;
      case cudaDevAttrL2CacheSize:
        return c.l2_bytes;
      case cudaDevAttrMaxPersistingL2CacheSize:
        return c.arch >= 80 ? c.l2_bytes / 4 * 3 : 0;
      case cudaDevAttrMaxAccessPolicyWindowSize:
        return c.arch >= 80 ? 128 * kMi : 0;
      case cudaDevAttrMultiProcessorCount:
        return c.multiprocessors;
      case cudaDevAttrMaxThreadsPerMultiProcessor:
        return c.threads_per_multiprocessor;
      case cudaDevAttrMaxBlocksPerMultiprocessor:
        return c.blocks_per_multiprocessor;
      case cudaDevAttrComputeCapabilityMajor:
        return c.major();
      case cudaDevAttrComputeCapabilityMinor:
        return c.minor();
      case cudaDevAttrPciBusId:
        return ordinal + 1;
      case cudaDevAttrTextureAlignment:
      case cudaDevAttrSurfaceAlignment:
        return 512;
      case cudaDevAttrTexturePitchAlignment:
        return 32;
      case cudaDevAttrAsyncEngineCount:
        return 3;
      case cudaDevAttrSingleToDoublePrecisionPerfRatio:
        return c.double_ratio;
      case cudaDevAttrClusterLaunch:
        return c.clusters();
      case cudaDevAttrGpuOverlap:
      case cudaDevAttrCanMapHostMemory:
      case cudaDevAttrConcurrentKernels:
      case cudaDevAttrUnifiedAddressing:
      case cudaDevAttrStreamPrioritiesSupported:
      case cudaDevAttrGlobalL1CacheSupported:
      case cudaDevAttrLocalL1CacheSupported:
      case cudaDevAttrManagedMemory:
      case cudaDevAttrConcurrentManagedAccess:
      case cudaDevAttrComputePreemptionSupported:
      case cudaDevAttrCanUseHostPointerForRegisteredMem:
      case cudaDevAttrCooperativeLaunch:
      case cudaDevAttrHostRegisterSupported:
      case cudaDevAttrMemoryPoolsSupported:
      case cudaDevAttrMemSyncDomainCount:
        return 1;
      case cudaDevAttrNumaId:
      case cudaDevAttrHostNumaId:
        return -1;
      default:
        return 0;  // textures, surfaces, interoperation, and what a card of ours has not
    }
  };
  *value = figure();
  return cudaSuccess;
}

cudaDeviceProp card_properties(const Card& c, int ordinal) {
  cudaDeviceProp p{};
  auto get = [&](cudaDeviceAttr a) {
    int v = 0;
    card_attribute(c, ordinal, a, &v);
    return v;
  };
  snprintf(p.name, sizeof p.name, "%s", c.name().c_str());
  memcpy(p.uuid.bytes, "simulated card", 14);
  p.uuid.bytes[15] = char(ordinal);
  p.totalGlobalMem = c.memory;
  p.sharedMemPerBlock = 48 * kKi;
  p.sharedMemPerBlockOptin = size_t(c.shared_optin());
  p.sharedMemPerMultiprocessor = size_t(c.shared_per_multiprocessor);
  p.reservedSharedMemPerBlock = size_t(c.shared_reserved);
  p.regsPerBlock = p.regsPerMultiprocessor = 65536;
  p.warpSize = 32;
  p.memPitch = 0x7fffffff;
  p.maxThreadsPerBlock = 1024, p.maxThreadsPerMultiProcessor = c.threads_per_multiprocessor;
  p.maxBlocksPerMultiProcessor = c.blocks_per_multiprocessor;
  p.maxThreadsDim[0] = p.maxThreadsDim[1] = 1024, p.maxThreadsDim[2] = 64;
  p.maxGridSize[0] = 0x7fffffff, p.maxGridSize[1] = p.maxGridSize[2] = 65535;
  p.totalConstMem = 64 * kKi;
  p.major = c.major(), p.minor = c.minor();
  p.textureAlignment = p.surfaceAlignment = 512, p.texturePitchAlignment = 32;
  p.multiProcessorCount = c.multiprocessors;
  p.pciBusID = ordinal + 1;
  p.asyncEngineCount = 3;
  p.memoryBusWidth = c.memory_bus_bits;
  p.l2CacheSize = c.l2_bytes;
  p.persistingL2CacheMaxSize = get(cudaDevAttrMaxPersistingL2CacheSize);
  p.accessPolicyMaxWindowSize = get(cudaDevAttrMaxAccessPolicyWindowSize);
  p.canMapHostMemory = p.concurrentKernels = p.unifiedAddressing = p.streamPrioritiesSupported = 1;
  p.globalL1CacheSupported = p.localL1CacheSupported = p.managedMemory = p.concurrentManagedAccess = 1;
  p.computePreemptionSupported = p.canUseHostPointerForRegisteredMem = p.cooperativeLaunch = 1;
  p.hostRegisterSupported = p.memoryPoolsSupported = 1;
  p.clusterLaunch = c.clusters();
  p.deviceNumaId = p.hostNumaId = -1;
  return p;
}

}  // namespace sim
