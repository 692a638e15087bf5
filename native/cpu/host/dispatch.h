#pragma once
// Which instruction set this process uses, and its kernels.
#include <string>
#include <vector>

#include "cpu/host/probe.h"
#include "ops/backend.h"

namespace heddle::cpu {

// The kernels of the level in use: the best that this CPU and its operating system have, or $HEDDLE_CPU. Throws OpError when
// that names a level which is not compiled in or which this machine lacks.
const Backend& backend();
const Probe& probe();

std::string level();                         // its name
std::vector<std::string> compiled_levels();  // best first
std::vector<std::string> machine_levels();   // those of them that this machine has, best first

// What decides on x86: every feature that CMakeLists.txt compiles a level for. arm64 has one level, which needs none of them.
struct Features {
  bool sse42, popcnt, avx2, fma, f16c, bmi2, avx512f, avx512bw, avx512dq, avx512vl;
};
Features machine_features();                          // those that the operating system has enabled
std::vector<std::string> levels_of(const Features&);  // best first; empty: heddle cannot run there

}  // namespace heddle::cpu
