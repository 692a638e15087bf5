#pragma once
// Measures the machine: the ceilings that kernels are held against.
#include <cstdint>

namespace heddle::cpu {

// Of one instruction set (native/cpu/probe.cc).
struct Probe {
  double (*fma_chains)(int64_t steps, float* keep);  // returns its floating-point operations
  void (*read_floats)(const float* p, int64_t n, float* keep);
};

enum class ProbeKind { fma, copy, read };

// GFLOP/s (fma), or GB/s (copy: read and written bytes; read), of so many threads at once, in about 0.2 s and at the instruction set in
// use. `bytes` each array has, of all threads together. Throws OpError where the system has no memory for them.
double run_probe(ProbeKind kind, int threads, int64_t bytes);

// For the worker of a CPU stream: its threads all do so many steps of the chains at once. Between two kernels this shows the peak at the
// clock that the processor holds under their load, which can be far below the one of an idle machine.
void fma_burst(int64_t steps);
void wake_threads();                                // before it: one that slept would come late
double fma_operations(int64_t steps, int threads);  // of such a burst
// The same for memory: its threads read `bytes`, or copy them as the C library does. On the arrays of the kernel that it is compared to:
// two others may lie better.
void memory_burst(const float* from, float* to, int64_t bytes);  // to: null to read only

}  // namespace heddle::cpu
