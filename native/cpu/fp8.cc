// fp8 (core/fp8.h). A product takes both operands out into f32, where they are exact, and is one of f32.
#include "core/fp8.h"

#include "cpu/kernels.h"

namespace heddle::cpu::HEDDLE_ISA {
namespace {

constexpr int64_t kGrain = int64_t{1} << 14;  // numbers of one item

inline int64_t parts(int64_t n) { return (n + kGrain - 1) / kGrain; }

void take_out(FP8 format, const uint8_t* codes, float scale, float* out, int64_t n) {
  parallel_range(n, kGrain, [&](int64_t low, int64_t high) {
    for (int64_t i = low; i < high; ++i) out[i] = fp8_value(format, codes[i]) * scale;
  });
}

}  // namespace

// The maxima of the items.
size_t fp8_quantize_workspace(const FP8QuantizeArgs& a, int) { return static_cast<size_t>(parts(a.n)) * sizeof(float); }

void fp8_quantize(const FP8QuantizeArgs& a) {
  const float* const x = f32(a.x);
  float* const most = static_cast<float*>(a.workspace);
  parallel_range(a.n, kGrain, [&](int64_t low, int64_t high) {
    float largest = 0;
    for (int64_t i = low; i < high; ++i) {
      const float size = __builtin_fabsf(x[i]);
      largest = size > largest ? size : largest;  // a NaN is not larger
    }
    most[low / kGrain] = largest;
  });
  float largest = 0;
  for (int64_t i = 0; i < parts(a.n); ++i) largest = most[i] > largest ? most[i] : largest;
  const float scale = *a.scale = fp8_scale(a.format, largest);
  parallel_range(a.n, kGrain, [&](int64_t low, int64_t high) {
    for (int64_t i = low; i < high; ++i) a.codes[i] = fp8_code(a.format, x[i] / scale);
  });
}

void fp8_dequantize(const FP8DequantizeArgs& a) { take_out(a.format, a.codes, a.scale ? *a.scale : 1, f32(a.out), a.n); }

size_t fp8_matmul_workspace(const FP8MatmulArgs& a, int) { return static_cast<size_t>((a.M + a.N) * a.K) * sizeof(float); }

void fp8_matmul(const FP8MatmulArgs& args) {
  MatmulArgs g = args;
  float* const a = static_cast<float*>(args.workspace);
  float* const b = a + g.M * g.K;
  take_out(args.a_format, static_cast<const uint8_t*>(g.a), 1, a, g.M * g.K);
  take_out(args.b_format, static_cast<const uint8_t*>(g.b), 1, b, g.N * g.K);
  g.a = a;
  g.b = b;
  matmul(g);
}

}  // namespace heddle::cpu::HEDDLE_ISA
