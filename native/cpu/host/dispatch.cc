#include "cpu/host/dispatch.h"

#ifdef __x86_64__
#include <cpuid.h>
#endif

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
  bool (*runs)(const Features&);
};

#ifdef __x86_64__
bool runs_baseline(const Features& f) { return f.sse42 && f.popcnt; }
bool runs_avx2(const Features& f) { return runs_baseline(f) && f.avx2 && f.fma && f.f16c && f.bmi2; }
bool runs_avx512(const Features& f) { return runs_avx2(f) && f.avx512f && f.avx512bw && f.avx512dq && f.avx512vl; }

constexpr Level kLevels[] = {// best first
                             {"avx512", &avx512::backend, &avx512::probe, runs_avx512},
                             {"avx2", &avx2::backend, &avx2::probe, runs_avx2},
                             {"baseline", &baseline::backend, &baseline::probe, runs_baseline}};

bool has_f16c() {  // g++ 10 does not know it by name
  unsigned a, b, c, d;
  return __get_cpuid(1, &a, &b, &c, &d) && (c & bit_F16C);
}
#else
constexpr Level kLevels[] = {{"baseline", &baseline::backend, &baseline::probe, [](const Features&) { return true; }}};
#endif

std::string join(const std::vector<std::string>& names) {
  std::string s;
  for (const auto& n : names) s += (s.empty() ? "" : ", ") + n;
  return s;
}

const Level& pick() {
  const char* wanted = std::getenv("HEDDLE_CPU");
  if (wanted && !*wanted) wanted = nullptr;
  const Features features = machine_features();
  for (const auto& l : kLevels)
    if (l.runs(features) && (!wanted || std::string(wanted) == l.name)) return l;
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
  for (const auto& l : kLevels) names.push_back(l.name);
  return names;
}

std::vector<std::string> machine_levels() { return levels_of(machine_features()); }

Features machine_features() {
#ifdef __x86_64__
  // What is said of AVX asks the operating system too: true only if it saves the registers. F16C is of use with AVX2 alone.
  return {.sse42 = __builtin_cpu_supports("sse4.2") != 0,
          .popcnt = __builtin_cpu_supports("popcnt") != 0,
          .avx2 = __builtin_cpu_supports("avx2") != 0,
          .fma = __builtin_cpu_supports("fma") != 0,
          .f16c = has_f16c(),
          .bmi2 = __builtin_cpu_supports("bmi2") != 0,
          .avx512f = __builtin_cpu_supports("avx512f") != 0,
          .avx512bw = __builtin_cpu_supports("avx512bw") != 0,
          .avx512dq = __builtin_cpu_supports("avx512dq") != 0,
          .avx512vl = __builtin_cpu_supports("avx512vl") != 0};
#else
  return {};
#endif
}

std::vector<std::string> levels_of(const Features& features) {
  std::vector<std::string> names;
  for (const auto& l : kLevels)
    if (l.runs(features)) names.push_back(l.name);
  return names;
}

}  // namespace heddle::cpu
