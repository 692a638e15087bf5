// What the machine itself can do, to hold kernels against: chains of fused multiply-add in registers, reading and copying memory.
#include "cpu/host/probe.h"

#include "cpu/vec.h"

namespace heddle::cpu::HEDDLE_ISA {
namespace {

// Enough independent chains for two units of four cycles' latency each, and no more than there are registers.
constexpr int kChains = VW == 16 ? 24 : 12;

double fma_chains(int64_t steps, float* keep) {
  const vf factor = splat(0.5f), term = splat(keep[0]);
  vf chain[kChains];
#pragma GCC unroll 24
  for (int i = 0; i < kChains; ++i) chain[i] = splat(static_cast<float>(i));
#pragma GCC unroll 4
  for (int64_t s = 0; s < steps; ++s) {
#pragma GCC unroll 24
    for (int i = 0; i < kChains; ++i) chain[i] = fma(chain[i], factor, term);
  }
  vf sum = chain[0];
#pragma GCC unroll 24
  for (int i = 1; i < kChains; ++i) sum = sum + chain[i];
  keep[0] = sum[0];
  return 2.0 * VW * kChains * static_cast<double>(steps);
}

void read_floats(const float* p, int64_t n, float* keep) {
  constexpr int kSums = 4, kAhead = 256;
  vf sum[kSums] = {};
  for (int64_t i = 0; i + kSums * VW <= n; i += kSums * VW) {
#pragma GCC unroll 4
    for (int j = 0; j < kSums; ++j) {
      __builtin_prefetch(p + i + j * VW + kAhead);
      sum[j] = sum[j] + load(p + i + j * VW);
    }
  }
  keep[0] = (sum[0] + sum[1] + sum[2] + sum[3])[0];
}

}  // namespace

extern const Probe probe;
const Probe probe = {fma_chains, read_floats};

}  // namespace heddle::cpu::HEDDLE_ISA
