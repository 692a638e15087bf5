// The choice of an instruction set: what a processor lacks of a level's features takes that level away, and those above it.
#include <algorithm>

#include "check.h"

using heddle::cpu::Features;
using heddle::cpu::levels_of;
using Names = std::vector<std::string>;

namespace {

void of_features() {
#if defined(__x86_64__)
  const Features all = {true, true, true, true, true, true, true, true, true, true};
  CHECK(levels_of(all) == Names({"avx512", "avx2", "baseline"}));
  CHECK(levels_of({}).empty());
  const auto without = [&](bool Features::* feature) {
    Features f = all;
    f.*feature = false;
    return levels_of(f);
  };
  for (const auto feature : {&Features::avx512f, &Features::avx512bw, &Features::avx512dq, &Features::avx512vl})
    CHECK(without(feature) == Names({"avx2", "baseline"}));
  for (const auto feature : {&Features::avx2, &Features::fma, &Features::f16c, &Features::bmi2})
    CHECK(without(feature) == Names({"baseline"}));
  for (const auto feature : {&Features::sse42, &Features::popcnt}) CHECK(without(feature).empty());
#else
  CHECK(levels_of({}) == Names({"baseline"}));
#endif
}

// The best of this machine, or the one that HEDDLE_CPU names.
void of_this_machine() {
  const Names here = heddle::cpu::machine_levels(), compiled = heddle::cpu::compiled_levels();
  CHECK(!here.empty() && here.back() == "baseline");
  for (const std::string& name : here) CHECK(std::find(compiled.begin(), compiled.end(), name) != compiled.end());
  const char* wanted = std::getenv("HEDDLE_CPU");
  const bool forced = wanted && *wanted;
  CHECK(heddle::cpu::level() == (forced ? wanted : here.front()));
  std::printf("%s%s, of %d compiled levels %d run here\n", heddle::cpu::level().c_str(), forced ? " (forced)" : "",
              static_cast<int>(compiled.size()), static_cast<int>(here.size()));
}

}  // namespace

int main() {
  of_features();
  check::backend();  // leaves where the level that is asked for is not to be had
  of_this_machine();
  return check::result();
}
