#pragma once
// Who holds a device's memory: every living handle says what it is for (`hold`), and the table of handles reaches every buffer but
// those of an op that is under way. Costs nothing until somebody asks, which is when memory has run out.
#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "core/device.h"
#include "napi/handle.h"
#include "ops/names.h"

namespace heddle {

template <>
struct EnumNames<Holder> {
  static constexpr const char* names[] = {"parameters",         "optimizer state",        "gradients",     "key-value caches",
                                          "saved for backward", "gradients on their way", "other tensors", "captured graphs"};
};

struct MemoryHolders {
  struct Buffer {
    Holder kind;
    int64_t bytes;  // as the allocator rounds them
    DType dtype;    // of its handles the one with the most elements
    Shape shape;
    const char* op;
  };
  std::array<int64_t, kHolders> bytes{};  // by kind
  int64_t underway = 0;                   // of an op that is not done: no handle holds it
  std::vector<Buffer> largest;            // first the largest
};

constexpr size_t kLargestHolders = 5;

MemoryHolders holders_of(const HandleTable& handles, const Device& device);

// Lines for an error: the kinds with their bytes, then the largest buffers with their shapes.
std::string text(const MemoryHolders& holders);

}  // namespace heddle
