// The figures of the simulated cards.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>
#include <string>
#include <vector>

namespace sim {

// Per multiprocessor and per block limits are those of the CUDA C++ Programming Guide's table of technical specifications; clocks,
// caches and buses are those of one product of that architecture (T4, A100, A10, L4, H100, B200, RTX 5090).
struct Card {
  int arch = 80;  // 10 * major + minor
  int multiprocessors = 16;
  int threads_per_multiprocessor = 2048, blocks_per_multiprocessor = 32;
  int shared_per_multiprocessor = 164 << 10, shared_reserved = 1 << 10;  // bytes
  int l2_bytes = 40 << 20;
  int clock_khz = 1410000, memory_clock_khz = 1215000, memory_bus_bits = 5120;
  int double_ratio = 2;        // f32 operations per f64 operation
  uint64_t memory = 4u << 30;  // bytes

  int major() const { return arch / 10; }
  int minor() const { return arch % 10; }
  int shared_optin() const { return shared_per_multiprocessor - shared_reserved; }
  bool clusters() const { return arch >= 90; }
  std::string name() const { return "simulated sm_" + std::to_string(arch); }
};

// The cards of SIM_CARDS ("80", "90,sm_75"; empty: none), each with SIM_MEMORY bytes (suffix K, M or G) and SIM_SMS multiprocessors.
std::vector<Card> cards_from_environment();

// cudaErrorInvalidValue for an attribute that CUDA does not know.
cudaError_t card_attribute(const Card& card, int ordinal, int attribute, int* value);
cudaDeviceProp card_properties(const Card& card, int ordinal);

// Blocks of a kernel that fit on a multiprocessor at once; registers are not known before ptxas and are taken as 32 per thread.
int resident_blocks(const Card& card, uint64_t threads, uint64_t shared_bytes);

}  // namespace sim
