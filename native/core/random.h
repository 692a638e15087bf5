#pragma once
// Counter-based random numbers: Philox4x32-10 (Salmon et al., "Parallel Random Numbers: As Easy as 1, 2, 3", SC 2011).
// A number belongs to an element, not to a thread: it is a pure function of (seed, stream, step, index), so the CPU, a
// GPU and a resumed run draw the same ones. `stream` tells apart the places that draw within one step.
#include <cstdint>

#ifdef __CUDACC__
#define HEDDLE_HOST_DEVICE __host__ __device__
#else
#define HEDDLE_HOST_DEVICE
#endif

namespace heddle {

// What lives on the device and changes every step, so that a captured graph replays unchanged. An i32 tensor of 4 elements.
struct RandomState {
  uint32_t seed_low, seed_high;
  uint32_t step;
  uint32_t reserved;
};

struct Random4 {
  uint32_t x[4];
};

// Four 32-bit numbers for elements 4*block .. 4*block+3. `static`: each instruction-set object has its own copy.
HEDDLE_HOST_DEVICE static inline Random4 philox(uint32_t seed_low, uint32_t seed_high, uint64_t block, uint32_t stream, uint32_t step) {
  uint32_t c0 = static_cast<uint32_t>(block), c1 = static_cast<uint32_t>(block >> 32), c2 = stream, c3 = step;
  uint32_t k0 = seed_low, k1 = seed_high;
  for (int round = 0; round < 10; ++round) {
    const uint64_t p0 = uint64_t{0xD2511F53u} * c0, p1 = uint64_t{0xCD9E8D57u} * c2;
    const uint32_t n0 = static_cast<uint32_t>(p1 >> 32) ^ c1 ^ k0, n2 = static_cast<uint32_t>(p0 >> 32) ^ c3 ^ k1;
    c1 = static_cast<uint32_t>(p1);
    c3 = static_cast<uint32_t>(p0);
    c0 = n0;
    c2 = n2;
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  return {{c0, c1, c2, c3}};
}

// [0, 1) with 24 bits.
HEDDLE_HOST_DEVICE static inline float uniform_of(uint32_t bits) { return static_cast<float>(bits >> 8) * 0x1p-24f; }

// An element is kept when its 32 bits are at least this: P(drop) = p to within 2^-32.
HEDDLE_HOST_DEVICE static inline uint32_t drop_threshold(float p) {
  const double t = static_cast<double>(p) * 4294967296.0;
  return t >= 4294967295.0 ? 4294967295u : static_cast<uint32_t>(t);
}

// Streams of what an optimizer rounds; draws of the forward pass count from 0. Of an element's word the low 16 bits round m, the others v.
constexpr uint32_t kMomentStream = 0xffffffffu, kWeightStream = 0xfffffffeu;

// An f32 rounded to bf16 at random, both by their bits: the low 16 of `random` are added to those that bf16 lacks, and what is then below
// bf16's last place is cut off. x becomes one of its two neighbours, the nearer the likelier, so that on average it stays x, however small
// what was added to it. A bf16 stays, and so do infinities and NaN. (Zamirai et al., "Revisiting BFloat16 Training", 2020)
HEDDLE_HOST_DEVICE static inline uint32_t round_at_random(uint32_t x, uint32_t random) {
  const uint32_t sum = x + (random & 0xffffu), quiet = (x & 0x7fffffu) != 0 ? 0x400000u : 0u;
  return ((x & 0x7f800000u) == 0x7f800000u ? x | quiet : sum) >> 16;
}

}  // namespace heddle
