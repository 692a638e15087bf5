// The choice of an instruction set, and of what multiplies in bf16: what a processor lacks of a level's features takes that level away, and
// those above it.
#include <algorithm>

#include "check.h"
#include "cpu/host/bf16.h"

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

// The names with that of a kernel before them, if this build has it.
Names compiled(const char* name, Names others) {
  if (heddle::cpu::use_bf16_kernel(name)) others.insert(others.begin(), name);
  heddle::cpu::use_bf16_kernel(nullptr);
  return others;
}

// What of the processor and the system AMX needs; the system is asked only if the rest is there.
void of_bf16() {
  static int asked;
  static bool grants;
  const auto grant = [] { return ++asked, grants; };
  const heddle::cpu::BF16Features all{1u << 22 | 1u << 24, 1u << 5, uint64_t{3} << 17, grant};
  const auto of = [&](auto change, const char* level = "avx512") {
    heddle::cpu::BF16Features f = all;
    change(f);
    return heddle::cpu::bf16_kernels_of(level, f);
  };
  const Names none = {"f32"}, pairs = compiled("avx512_bf16", none), amx = compiled("amx", pairs);
  const int once = amx.size() > pairs.size();
  grants = true;
  CHECK(of([](auto&) {}) == amx && asked == once);
  for (unsigned bit : {22, 24}) CHECK(of([&](auto& f) { f.leaf7_edx &= ~(1u << bit); }) == pairs);
  for (unsigned bit : {17, 18}) CHECK(of([&](auto& f) { f.xcr0 &= ~(uint64_t{1} << bit); }) == pairs);
  CHECK(of([](auto& f) { f.leaf7_1_eax = 0; }) == none);
  for (const char* level : {"avx2", "baseline"}) CHECK(of([](auto&) {}, level) == none);
  CHECK(asked == once);
  grants = false;
  CHECK(of([](auto&) {}) == pairs && asked == 2 * once);
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
  of_bf16();
  check::backend();  // leaves where the level that is asked for is not to be had
  of_this_machine();
  return check::result();
}
