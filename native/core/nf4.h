#pragma once
// NF4: 4-bit NormalFloat with quantised constants (Dettmers et al., "QLoRA: Efficient Finetuning of Quantized LLMs", 2023), as bitsandbytes
// defines it. 64 neighbouring weights share the largest of their absolute values, and each is the nearest of 16 levels of its quotient. The
// 8-bit code of such a constant, less the mean of all, is the nearest of 256 levels of its quotient by the largest of 256 neighbours.
#include "core/random.h"

namespace heddle {

constexpr int kNF4Block = 64;   // weights that share a constant
constexpr int kNF4Group = 256;  // constants that share a range

// Ascending levels from -1 to 1.
template <int N>
struct Levels {
  float x[N];
};

// Quantiles of a normal distribution, with an exact 0 (the paper's appendix E).
constexpr Levels<16> kNF4Levels = {{-1.0f, -0.6961928009986877f, -0.5250730514526367f, -0.39491748809814453f, -0.28444138169288635f,
                                    -0.18477343022823334f, -0.09105003625154495f, 0.0f, 0.07958029955625534f, 0.16093020141124725f,
                                    0.24611230194568634f, 0.33791524171829224f, 0.44070982933044434f, 0.5626170039176941f,
                                    0.7229568362236023f, 1.0f}};

// 8-bit dynamic numbers (Dettmers et al., "8-bit Optimizers via Block-wise Quantization", 2022): 0, 1, and of either sign 2^e of them
// between 10^(e-7) and 10^(e-6), evenly spaced, for e from 0 to 6.
static constexpr Levels<256> dynamic_levels() {
  Levels<256> levels{};
  int number = 1;
  for (int e = 0; e < 7; ++e) {
    double scale = 1;
    for (int i = e; i < 6; ++i) scale /= 10;
    for (int k = 0; k < 1 << e; ++k, ++number) {
      const auto level = static_cast<float>(scale * (0.1 + 0.9 * (k + 0.5) / (1 << e)));
      levels.x[127 + number] = level;
      levels.x[127 - number] = -level;
    }
  }
  levels.x[255] = 1;
  return levels;
}

// Where a level gives way to the next: beyond the middle between them, so that a tie goes to the lower one.
HEDDLE_HOST_DEVICE static inline float midpoint(const float* levels, int code) { return (levels[code] + levels[code + 1]) * 0.5f; }

// The code of the nearest of `count` levels, a power of two.
HEDDLE_HOST_DEVICE static inline int nearest_level(const float* levels, int count, float x) {
  int code = 0;
  for (int width = count / 2; width; width /= 2)
    if (x > midpoint(levels, code + width - 1)) code += width;
  return code;
}

// What weights are multiplied by before the nearest level is looked for: 0 where the largest is 0, or so small that its reciprocal
// overflows.
HEDDLE_HOST_DEVICE static inline float reciprocal_of(float largest) {
  const float r = 1.0f / largest;
  return r <= 3.402823466e38f ? r : 0.0f;
}

// The larger one; NaN wins, so that a NaN among the weights is not lost.
HEDDLE_HOST_DEVICE static inline float larger(float a, float b) { return b > a || b != b ? b : a; }

}  // namespace heddle
