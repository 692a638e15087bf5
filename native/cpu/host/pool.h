#pragma once
// The threads of a CPU stream. Plain functions only: files that are compiled once per instruction set include this.
#include <cstddef>
#include <cstdint>

namespace heddle::cpu {

// Runs fn(context, item) once for every item in [0, items), on the threads of the stream whose worker calls; outside a
// stream, on the calling thread. Returns when all are done. Which thread runs an item, and in which order, is open: what an
// item computes must not depend on it. What items stored past the caches (cpu/output.h) is there too when it returns. An exception thrown
// by an item is rethrown here (the lowest item's).
void pool_run(int64_t items, void (*fn)(void* context, int64_t item), void* context);

// Scratch memory of the calling thread, 64-byte aligned, at least `floats` long, contents undefined. Each slot keeps its
// memory until it is asked to grow, so a kernel calls this at every run and allocates only at the first.
constexpr int kScratchSlots = 8;
float* pool_scratch(int slot, size_t floats);

int pool_threads();  // of the current stream

}  // namespace heddle::cpu
