// Codes of fp8 by their definition: every code's number, nearest codes with ties, saturation, NaN; the kernels on tensors.
#include "core/fp8.h"

#include "check.h"

using namespace heddle;

namespace {

void is(bool ok, const std::string& what, int line) { check::report(ok, __FILE__, line, what); }
#define IS(ok, ...) is((ok), check::text(__VA_ARGS__), __LINE__)

const char* name(FP8 format) { return format == FP8::e4m3 ? "e4m3" : "e5m2"; }
uint32_t bits(float x) { return __builtin_bit_cast(uint32_t, x); }
float of_bits(uint32_t x) { return __builtin_bit_cast(float, x); }

// Sign, exponent, mantissa as the formats' definition says (table 1 of the paper).
double defined(FP8 format, int code) {
  const int m = format == FP8::e4m3 ? 3 : 2, bias = format == FP8::e4m3 ? 7 : 15;
  const int exponent = (code & 127) >> m, mantissa = code & ((1 << m) - 1);
  const double sign = code & 128 ? -1 : 1;
  if (format == FP8::e4m3 && (code & 127) == 127) return NAN;
  if (format == FP8::e5m2 && exponent == 31) return mantissa ? NAN : sign * INFINITY;
  if (exponent == 0) return sign * std::ldexp(mantissa, 1 - bias - m);
  return sign * std::ldexp((1 << m) + mantissa, exponent - bias - m);
}

void every_code(FP8 format) {
  const int largest = format == FP8::e4m3 ? 0x7e : 0x7b;
  for (int code = 0; code < 256; ++code) {
    const float value = fp8_value(format, static_cast<uint8_t>(code));
    const auto want = static_cast<float>(defined(format, code));
    IS(std::isnan(want) ? std::isnan(value) : bits(value) == bits(want), "%s %02x is %g", name(format), code, static_cast<double>(value));
    if ((code & 127) <= largest) IS(fp8_code(format, value) == code, "%s %02x comes back", name(format), code);
  }
  IS(fp8_value(format, static_cast<uint8_t>(largest)) == fp8_largest(format), "the largest of %s", name(format));
}

// Around every middle of two neighbours, by steps of an f32.
void ties(FP8 format) {
  const int largest = format == FP8::e4m3 ? 0x7e : 0x7b;
  for (int code = 0; code < largest; ++code) {
    const float middle = (fp8_value(format, static_cast<uint8_t>(code)) + fp8_value(format, static_cast<uint8_t>(code + 1))) / 2;
    const int even = code + code % 2;
    for (int sign = 0; sign <= 1; ++sign) {
      const auto coded = [&](uint32_t x) { return fp8_code(format, of_bits(x | static_cast<uint32_t>(sign) << 31)) - sign * 128; };
      IS(coded(bits(middle)) == even, "%s: between %02x and the next: the even one", name(format), code);
      IS(coded(bits(middle) - 1) == code && coded(bits(middle) + 1) == code + 1, "%s: beside that middle", name(format));
    }
  }
}

void ends(FP8 format) {
  const uint8_t largest = format == FP8::e4m3 ? 0x7e : 0x7b;
  const float top = fp8_largest(format);
  for (const float x : {top, top * 1.01f, top * 1.25f, 3e38f, INFINITY}) {
    IS(fp8_code(format, x) == largest, "%s of %g saturates", name(format), static_cast<double>(x));
    IS(fp8_code(format, -x) == (largest | 0x80), "%s of %g saturates", name(format), static_cast<double>(-x));
  }
  for (const float x : {1e-30f, 1e-45f, 0.0f}) {
    IS(fp8_code(format, x) == 0 && fp8_code(format, -x) == 0x80, "%s of %g is a zero", name(format), static_cast<double>(x));
  }
  for (const uint32_t x : {0x7fc00000u, 0xffc00000u, 0x7f800001u})
    IS(std::isnan(fp8_value(format, fp8_code(format, of_bits(x)))), "%s: NaN stays", name(format));
  IS(fp8_scale(format, 0) == 1 && fp8_scale(format, 1e-44f) == 1, "a scale of 0 is none");
  IS(fp8_scale(format, 3 * top) == 3 && std::isinf(fp8_scale(format, INFINITY)), "a scale");
}

// Parts of the sum that ends in the middle of an item; the largest number in the last one; what NaN and infinities do.
void tensors(FP8 format) {
  const Backend& kernels = check::backend();
  const int64_t n = 40000;
  std::vector<float> x(n), back(n);
  check::Rng rng(7);
  for (float& v : x) v = static_cast<float>(static_cast<double>(rng.next() >> 40) / (1 << 24) - 0.5);
  x[n - 1] = -3;
  std::vector<uint8_t> codes(n);
  float scale = 0;
  FP8QuantizeArgs a{DType::f32, format, x.data(), codes.data(), &scale, n, nullptr};
  std::vector<char> workspace(kernels.fp8_quantize.workspace(a, -1));
  a.workspace = workspace.data();
  kernels.fp8_quantize.run(a);
  IS(scale == 3 / fp8_largest(format), "%s: scale %g", name(format), static_cast<double>(scale));
  bool equal = true;
  for (int64_t i = 0; i < n; ++i) equal &= codes[i] == fp8_code(format, x[i] / scale);
  IS(equal, "%s: codes of a tensor", name(format));
  kernels.fp8_dequantize.run({DType::f32, format, codes.data(), &scale, back.data(), n});
  // Half a step of the largest numbers, and of the smallest.
  const float relative = format == FP8::e4m3 ? 1.0f / 16 : 1.0f / 8, least = format == FP8::e4m3 ? 0x1p-10f : 0x1p-17f;
  equal = true;
  for (int64_t i = 0; i < n; ++i) equal &= std::fabs(back[i] - x[i]) <= std::fmax(std::fabs(x[i]) * relative, least * scale) * 1.00001f;
  IS(equal, "%s: within half a step", name(format));

  x[5] = NAN;
  kernels.fp8_quantize.run(a);
  IS(scale == 3 / fp8_largest(format) && std::isnan(fp8_value(format, codes[5])) && !std::isnan(fp8_value(format, codes[6])),
     "%s: NaN stays alone", name(format));
  x[6] = INFINITY;
  kernels.fp8_quantize.run(a);
  kernels.fp8_dequantize.run({DType::f32, format, codes.data(), &scale, back.data(), n});
  equal = true;
  for (const float v : back) equal &= std::isnan(v);
  IS(equal, "%s: an infinity is lost in NaN", name(format));
}

}  // namespace

int main() {
  for (const FP8 format : {FP8::e4m3, FP8::e5m2}) {
    every_code(format);
    ties(format);
    ends(format);
    tensors(format);
  }
  return check::result();
}
