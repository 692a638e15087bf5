// Binary floating-point formats and rounding to them.
#pragma once

#include <cstdint>

#include "sim/ptx/ptx.h"

namespace sim {

enum class Rounding : uint8_t { Nearest, Zero, Down, Up, Away };  // Away: nearest, ties away from zero

struct Format {
  int precision;   // significant bits with the leading one
  int emin;        // exponent of the smallest normal number
  double largest;  // finite
};
constexpr Format kF16{11, -14, 65504}, kBf16{8, -126, 0x1.fep127}, kTf32{11, -126, 0x1.ffcp127}, kF32{24, -126, 0x1.fffffep127},
    kF64{53, -1022, 0x1.fffffffffffffp1023}, kE4m3{4, -6, 448}, kE5m2{3, -14, 57344}, kE2m1{2, 0, 6}, kE2m3{4, 0, 7.5}, kE3m2{3, -2, 28};

// The nearest value of the format; overflow gives infinity or the largest number, as the mode demands.
double round_to(double v, const Format& f, Rounding mode = Rounding::Nearest);
// (-1)^negative * magnitude, rounded once.
double round_integer(bool negative, uint64_t magnitude, const Format& f, Rounding mode);

// v must be a value of the format, an infinity or NaN.
uint16_t pack_f16(double v);
uint16_t pack_bf16(double v);
// fp8 (5.2.3 Alternate Floating-Point Data Formats): rounds to nearest even; what is too large becomes the largest number.
uint8_t double_to_fp8(double v, ptx::Type t);
// fp4 and fp6, which have neither infinities nor NaN (NaN becomes the largest number), and powers of two without sign.
bool is_narrow(ptx::Type t);
uint8_t double_to_narrow(double v, ptx::Type t, Rounding mode);
double narrow_to_double(uint8_t b, ptx::Type t);
float fp8_to_float(uint8_t b, ptx::Type t);

}  // namespace sim
