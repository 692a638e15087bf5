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

}  // namespace heddle::cpu
