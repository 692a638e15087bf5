#include "cpu/host/dispatch.h"

#include <cstdlib>

#include "core/error.h"

namespace heddle::cpu {

namespace baseline {
extern const Backend backend;
extern const Probe probe;
}  // namespace baseline
#ifdef __x86_64__
namespace avx2 {
extern const Backend backend;
extern const Probe probe;
}  // namespace avx2
namespace avx512 {
extern const Backend backend;
extern const Probe probe;
}  // namespace avx512
#endif

namespace {

struct Level {
  const char* name;
  const Backend* backend;
  const Probe* probe;
  bool here;
};

const std::vector<Level>& levels() {
#ifdef __x86_64__
  // These ask the operating system too: true only if it saves the registers.
  static const bool v3 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2");
  static const bool v4 = v3 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  static const std::vector<Level> list = {{"avx512", &avx512::backend, &avx512::probe, v4},
                                          {"avx2", &avx2::backend, &avx2::probe, v3},
                                          {"baseline", &baseline::backend, &baseline::probe, true}};
#else
  static const std::vector<Level> list = {{"baseline", &baseline::backend, &baseline::probe, true}};
#endif
  return list;
}

std::string join(const std::vector<std::string>& names) {
  std::string s;
  for (const auto& n : names) s += (s.empty() ? "" : ", ") + n;
  return s;
}

const Level& pick() {
  const char* wanted = std::getenv("HEDDLE_CPU");
  if (wanted && !*wanted) wanted = nullptr;
  for (const auto& l : levels())
    if (l.here && (!wanted || std::string(wanted) == l.name)) return l;
  throw OpError("HEDDLE_CPU must be one of " + join(machine_levels()) + " on this machine, got " + std::string(wanted ? wanted : ""));
}

const Level& current() {
  static const Level& l = pick();
  return l;
}

}  // namespace

const Backend& backend() { return *current().backend; }
const Probe& probe() { return *current().probe; }
std::string level() { return current().name; }

std::vector<std::string> compiled_levels() {
  std::vector<std::string> names;
  for (const auto& l : levels()) names.push_back(l.name);
  return names;
}

std::vector<std::string> machine_levels() {
  std::vector<std::string> names;
  for (const auto& l : levels())
    if (l.here) names.push_back(l.name);
  return names;
}

}  // namespace heddle::cpu
