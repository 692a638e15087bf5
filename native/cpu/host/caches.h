#pragma once
// The machine's caches, as far as kernels care.
#include <cstdint>

namespace heddle::cpu {

// Bytes of the last-level cache: what HEDDLE_CACHE_BYTES says, or else the system, or else a guess. Throws OpError where that is no
// positive integer.
int64_t cache_bytes();

// Whether an output of so many bytes is written past the caches: it would not stay in them, and an ordinary store first reads the
// line that it overwrites.
bool past_caches(int64_t bytes);

}  // namespace heddle::cpu
