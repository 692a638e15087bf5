// Errors and small helpers shared by every part of the simulator.
#pragma once

#include <cstdint>
#include <cstring>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace sim {

struct Error : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// Throws Error.  The scheduler adds kernel, block, warp, instruction and source line.
[[noreturn, gnu::format(printf, 1, 2)]] void fail(const char* format, ...);
[[gnu::format(printf, 1, 2)]] std::string format(const char* format, ...);

std::string readable(const std::string& mangled);  // C++ name without parameter list

inline uint64_t round_up(uint64_t n, uint64_t align) { return (n + align - 1) / align * align; }

template <class F>
inline void for_lanes(uint32_t mask, F&& f) {
  for (; mask; mask &= mask - 1) f(__builtin_ctz(mask));
}

}  // namespace sim
