// NF4 (core/nf4.h). The mean is a sum over each group, pairwise, then over the groups in order, in double: the same bits on every device.
#include "core/nf4.h"

#include "cpu/kernels.h"
#include "cpu/rows.h"

namespace heddle::cpu::HEDDLE_ISA {
namespace {

constexpr Levels<256> kScaleLevels = dynamic_levels();
constexpr int64_t kGrain = 128 * kNF4Block;  // weights that one item dequantises

inline int64_t pieces(int64_t n, int64_t size) { return (n + size - 1) / size; }
inline int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

// The codes of n <= 64 weights; gives the largest absolute value.
inline float quantize_block(const float* w, int64_t n, uint8_t* codes) {
  float largest = 0;
  for (int64_t i = 0; i < n; ++i) largest = larger(largest, __builtin_fabsf(w[i]));
  const vf factor = splat(reciprocal_of(largest));
  alignas(64) int32_t code[kNF4Block + VW];
  each_vector(n, [&](int64_t i, int count) {
    const vf x = load_n(w + i, count) * factor;
    vi above{};
    for (int level = 0; level < 15; ++level) above = above - (x > splat(midpoint(kNF4Levels.x, level)));  // a true lane is -1
    *reinterpret_cast<viu*>(code + i) = above;
  });
  if (n % 2) code[n] = 7;
  for (int64_t i = 0; i < n; i += 2) codes[i / 2] = static_cast<uint8_t>(code[i] << 4 | code[i + 1]);
  return largest;
}

}  // namespace

// The blocks' constants and the groups' sums.
size_t nf4_quantize_workspace(const NF4QuantizeArgs& a, int) {
  const int64_t blocks = pieces(a.n, kNF4Block);
  return static_cast<size_t>(blocks + pieces(blocks, kNF4Group)) * sizeof(float);
}

void nf4_quantize(const NF4QuantizeArgs& a) {
  const int64_t blocks = pieces(a.n, kNF4Block), groups = pieces(blocks, kNF4Group);
  float* const constants = static_cast<float*>(a.workspace);
  float* const sums = constants + blocks;
  parallel(groups, [&](int64_t group) {
    float sum[kNF4Group] = {};
    const int64_t first = group * kNF4Group, count = smaller(kNF4Group, blocks - first);
    for (int64_t i = 0; i < count; ++i) {
      const int64_t at = (first + i) * kNF4Block;
      sum[i] = constants[first + i] = quantize_block(a.w + at, smaller(kNF4Block, a.n - at), a.codes + at / 2);
    }
    for (int width = kNF4Group / 2; width; width /= 2)
      for (int i = 0; i < width; ++i) sum[i] += sum[i + width];
    sums[group] = sum[0];
  });
  double total = 0;
  for (int64_t group = 0; group < groups; ++group) total += static_cast<double>(sums[group]);
  const float mean = *a.mean = static_cast<float>(total / static_cast<double>(blocks));
  parallel(groups, [&](int64_t group) {
    const int64_t first = group * kNF4Group, last = smaller(first + kNF4Group, blocks);
    float range = 0;
    for (int64_t i = first; i < last; ++i) range = larger(range, __builtin_fabsf(constants[i] - mean));
    a.ranges[group] = range;
    const float factor = reciprocal_of(range);
    for (int64_t i = first; i < last; ++i)
      a.scales[i] = static_cast<uint8_t>(nearest_level(kScaleLevels.x, 256, (constants[i] - mean) * factor));
  });
}

void nf4_dequantize(const NF4DequantizeArgs& a) {
  float* const out = f32(a.out);
  parallel_range(a.n, kGrain, [&](int64_t low, int64_t high) {
    for (int64_t at = low; at < high; at += kNF4Block) {
      const int64_t block = at / kNF4Block, n = smaller(kNF4Block, high - at);
      const float constant = *a.mean + kScaleLevels.x[a.scales[block]] * a.ranges[block / kNF4Group];
      float value[16];
      for (int code = 0; code < 16; ++code) value[code] = kNF4Levels.x[code] * constant;
      const uint8_t* const codes = a.codes + at / 2;
      for (int64_t i = 0; i + 1 < n; i += 2) {
        out[at + i] = value[codes[i / 2] >> 4];
        out[at + i + 1] = value[codes[i / 2] & 15];
      }
      if (n % 2) out[at + n - 1] = value[codes[n / 2] >> 4];
    }
  });
}

}  // namespace heddle::cpu::HEDDLE_ISA
