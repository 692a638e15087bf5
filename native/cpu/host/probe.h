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

}  // namespace heddle::cpu
