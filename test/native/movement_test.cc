// copy between all pairs of types and strides, fill, gather and its gradient.
#include "views.h"

using namespace heddle;
using namespace check;

namespace {

const DType kTypes[] = {DType::f32, DType::bf16, DType::f16, DType::i32, DType::u8, DType::boolean};

uint32_t bits_of(float x) {
  uint32_t b;
  std::memcpy(&b, &x, 4);
  return b;
}
float float_of(uint32_t b) {
  float x;
  std::memcpy(&x, &b, 4);
  return x;
}

// The references work on values, not on bits: a half is found by its definition, sign * significand * 2^exponent.
double half_value(uint16_t h) {
  const int exponent = h >> 10 & 31, fraction = h & 1023;
  const double sign = h & 0x8000 ? -1 : 1;
  if (exponent == 31) return fraction ? std::nan("") : sign * std::numeric_limits<double>::infinity();
  return sign * (exponent ? std::ldexp(1024 + fraction, exponent - 25) : std::ldexp(fraction, -24));
}
// x to `digits` significant binary digits, round to nearest even, denormals in steps of 2^smallest, infinity from 2^limit.
double rounded(double x, int digits, int smallest, int limit) {
  if (x == 0 || !std::isfinite(x)) return x;
  const int step = std::max(std::ilogb(x) - digits + 1, smallest);
  const double y = std::ldexp(std::nearbyint(std::ldexp(x, -step)), step);
  return std::fabs(y) >= std::ldexp(1, limit) ? std::copysign(std::numeric_limits<double>::infinity(), x) : y;
}

double value_at(const unsigned char* p, DType type) {
  uint16_t h;
  int32_t i;
  float f;
  switch (type) {
    case DType::f32:
      std::memcpy(&f, p, 4);
      return static_cast<double>(f);
    case DType::bf16:
      std::memcpy(&h, p, 2);
      return static_cast<double>(float_of(uint32_t{h} << 16));
    case DType::f16:
      std::memcpy(&h, p, 2);
      return half_value(h);
    case DType::i32:
      std::memcpy(&i, p, 4);
      return i;
    case DType::u8:
      return *p;
    case DType::boolean:
      return *p ? 1 : 0;
  }
  return 0;
}

double saturated(double x, double low, double high) {
  return std::isnan(x) ? 0 : std::trunc(std::fmin(std::fmax(x, low), high)) + 0.0;
}  // integers have no -0

double converted(double x, DType from, DType to) {
  switch (to) {
    case DType::f32:
      return static_cast<double>(static_cast<float>(x));
    case DType::bf16:
      return rounded(static_cast<double>(static_cast<float>(x)), 8, -133, 128);
    case DType::f16:
      return rounded(static_cast<double>(static_cast<float>(x)), 11, -24, 16);
    case DType::i32:
      return saturated(x, -2147483648.0, 2147483647.0);
    case DType::u8:
      return from == DType::i32 ? static_cast<double>(static_cast<int64_t>(x) & 255) : saturated(x, 0, 255);
    case DType::boolean:
      return x != 0;
  }
  return 0;
}

bool equal(double a, double b) { return (std::isnan(a) && std::isnan(b)) || (a == b && std::signbit(a) == std::signbit(b)); }

void random_element(Rng& rng, unsigned char* p, DType type) {
  const uint64_t bits = rng.next();
  const size_t size = size_of(type);
  std::memcpy(p, &bits, size);  // any pattern: NaN, denormals, infinities
  if (type == DType::boolean) *p &= 1;
  if (rng.below(2)) return;
  if (type == DType::f32) {  // mostly ordinary numbers
    const float x = static_cast<float>(rng.normal() * std::exp(rng.uniform(-20, 22)));
    std::memcpy(p, &x, 4);
  } else if (type == DType::i32) {
    const int32_t x = static_cast<int32_t>(rng.below(600) - 300);
    std::memcpy(p, &x, 4);
  } else if (size == 2) {
    const uint16_t x =
        static_cast<uint16_t>((type == DType::f16 ? 0x3c00 : 0x3f80) + rng.below(0x800)) | static_cast<uint16_t>(bits & 0x8000);
    std::memcpy(p, &x, 2);
  }
}

// Memory for elements of any type, aligned for the largest; guarded from the next multiple of 4 bytes on.
struct Bytes : Buffer<uint32_t> {
  explicit Bytes(int64_t bytes) : Buffer<uint32_t>((bytes + 3) / 4) {}
  unsigned char* at(int64_t byte) { return reinterpret_cast<unsigned char*>(data()) + byte; }
};

void check_copy(const Backend& k, Rng& rng, DType from, DType to, const Shape& shape, const Shape& from_strides, const Shape& to_strides) {
  const auto from_size = static_cast<int64_t>(size_of(from)), to_size = static_cast<int64_t>(size_of(to));
  const int64_t n = elements(shape), span = extent(shape, to_strides);
  Bytes src(from_size * extent(shape, from_strides)), dst(to_size * span), untouched(to_size * span);
  for (int64_t i = 0; i < extent(shape, from_strides); ++i) random_element(rng, src.at(i * from_size), from);
  untouched.copy(dst);
  same_for_threads(dst, "copy",
                   [&] { k.copy.run({view(src.data(), from, shape, from_strides), view(dst.data(), to, shape, to_strides)}); });
  std::vector<bool> written(static_cast<size_t>(span));
  int wrong = 0;
  for (int64_t i = 0; i < n; ++i) {
    const int64_t s = offset(shape, from_strides, i), d = offset(shape, to_strides, i);
    written[static_cast<size_t>(d)] = true;
    const double x = value_at(src.at(s * from_size), from), y = value_at(dst.at(d * to_size), to);
    const bool right =
        from == to ? std::memcmp(src.at(s * from_size), dst.at(d * to_size), size_of(to)) == 0 : equal(y, converted(x, from, to));
    if (!right && wrong++ == 0)
      report(false, __FILE__, __LINE__, text("copy %s to %s: %.9g became %.9g", name_of(from), name_of(to), x, y));
  }
  int strays = 0;
  for (int64_t i = 0; i < span; ++i)
    if (!written[static_cast<size_t>(i)]) strays += std::memcmp(dst.at(i * to_size), untouched.at(i * to_size), size_of(to)) != 0;
  for (int64_t i = span * to_size; i < dst.size() * 4; ++i) strays += *dst.at(i) != *untouched.at(i);
  CHECK_MSG(wrong == 0 && strays == 0, "copy %s to %s: %d wrong, %d written between elements", name_of(from), name_of(to), wrong, strays);
  CHECK(dst.guarded());
}

void test_copy(const Backend& k, Rng& rng) {
  for (const DType from : kTypes)
    for (const DType to : kTypes) {
      check_copy(k, rng, from, to, {}, {}, {});
      check_copy(k, rng, from, to, {0, 4}, {4, 1}, {4, 1});
      check_copy(k, rng, from, to, {20003}, {1}, {1});
      check_copy(k, rng, from, to, {70, 45}, {1, 70}, {45, 1});  // transpose
      check_copy(k, rng, from, to, {3, 37, 5, 18}, {3330, 18, 666, 1}, {3330, 90, 18, 1});
      check_copy(k, rng, from, to, {2, 33, 3, 20}, {1980, 1, 660, 33}, {1980, 60, 20, 1});  // transpose among others
      check_copy(k, rng, from, to, {600}, {3}, {2});
      check_copy(k, rng, from, to, {40, 19}, {0, 1}, {19, 1});
      check_copy(k, rng, from, to, {40, 19}, {1, 0}, {19, 1});
      for (int i = 0; i < 12; ++i) {
        const Shape shape = random_shape(rng);
        check_copy(k, rng, from, to, shape, random_strides(rng, shape, true), random_strides(rng, shape));
      }
    }
}

// Bits that must not depend on the level: every f16, and f32 around every rounding boundary of f16 and bf16.
void test_half_bits(const Backend& k) {
  constexpr int64_t n = 65536;
  Buffer<uint16_t> h(n), back(n);
  Floats f(n);
  for (int64_t i = 0; i < n; ++i) h[i] = static_cast<uint16_t>(i);
  k.copy.run({view(h.data(), DType::f16, {n}, {1}), view(f.data(), DType::f32, {n}, {1})});
  k.copy.run({view(f.data(), DType::f32, {n}, {1}), view(back.data(), DType::f16, {n}, {1})});
  for (int64_t i = 0; i < n; ++i) {
    const bool nan = (i & 0x7c00) == 0x7c00 && (i & 0x3ff);
    CHECK(back[i] == (nan ? (i | 0x200) : i));
    CHECK(nan ? bits_of(f[i]) == (static_cast<uint32_t>(i & 0x8000) << 16 | 0x7fc00000u | static_cast<uint32_t>(i & 0x3ff) << 13)
              : equal(static_cast<double>(f[i]), half_value(static_cast<uint16_t>(i))));
  }
  struct Case {
    uint32_t f32;
    uint16_t f16, bf16;
  };
  const Case cases[] = {{0x3f800000, 0x3c00, 0x3f80}, {0x3f801000, 0x3c00, 0x3f80}, {0x3f803000, 0x3c02, 0x3f80},
                        {0x3f808000, 0x3c04, 0x3f80}, {0x3f818000, 0x3c0c, 0x3f82}, {0x477fefff, 0x7bff, 0x4780},
                        {0x477ff000, 0x7c00, 0x4780}, {0x33000000, 0x0000, 0x3300}, {0x33000001, 0x0001, 0x3300},
                        {0x38800000, 0x0400, 0x3880}, {0x387fffff, 0x0400, 0x3880}, {0x80000000, 0x8000, 0x8000},
                        {0x7f7fffff, 0x7c00, 0x7f80}, {0xff800000, 0xfc00, 0xff80}, {0x7f800001, 0x7e00, 0x7fc0},
                        {0xffc12345, 0xfe09, 0xffc1}, {0x00000001, 0x0000, 0x0000}, {0x00018000, 0x0000, 0x0002}};
  for (const Case& c : cases)
    for (const int64_t count : {1, 24}) {  // alone and inside a vector
      Floats x(count);
      Buffer<uint16_t> f16(count), bf16(count);
      x.fill(float_of(c.f32));
      k.copy.run({view(x.data(), DType::f32, {count}, {1}), view(f16.data(), DType::f16, {count}, {1})});
      k.copy.run({view(x.data(), DType::f32, {count}, {1}), view(bf16.data(), DType::bf16, {count}, {1})});
      CHECK_MSG(f16[0] == c.f16 && bf16[0] == c.bf16, "f32 %08x: f16 %04x, bf16 %04x", c.f32, f16[0], bf16[0]);
    }
}

void test_fill(const Backend& k, Rng& rng) {
  for (const DType type : kTypes)
    for (const double value : {0.0, 1.0, -3.7, 16777217.0, 1e10, 1e-60, std::nan("")})
      for (int i = 0; i < 4; ++i) {
        const Shape shape = i == 0 ? Shape{50001} : random_shape(rng), strides = i == 0 ? Shape{1} : random_strides(rng, shape);
        const auto size = static_cast<int64_t>(size_of(type));
        Bytes dst(size * extent(shape, strides));
        same_for_threads(dst, "fill", [&] { k.fill.run({view(dst.data(), type, shape, strides), value}); });
        const double expected = converted(value, DType::f32, type);
        bool right = true;
        for (int64_t e = 0; e < elements(shape); ++e)
          right = right && equal(value_at(dst.at(offset(shape, strides, e) * size), type), expected);
        CHECK_MSG(right, "fill %s with %g", name_of(type), value);
        CHECK(dst.guarded());
      }
}

void test_gather(const Backend& k, Rng& rng) {
  const int64_t shapes[][4] = {{1, 1, 1, 1},    {5, 7, 1, 1},   {3, 11, 20, 1}, {2, 5, 9, 130},
                               {1, 40, 300, 3}, {600, 4, 6, 2}, {2, 3, 0, 4},   {0, 3, 2, 4}};
  for (const auto& [outer, axis, picks, inner] : shapes) {
    const int64_t n = outer * picks * inner;
    Floats x(outer * axis * inner), out(n), dx(x.size()), sum(x.size());
    Ints index(n);
    x.normal(rng);
    sum.normal(rng);
    for (int32_t& i : index) i = static_cast<int32_t>(rng.below(axis));
    Floats expected(n), grad(x.size()), grad_sum(x.size());
    grad.fill(0);
    grad_sum.copy(sum);
    Floats dy(n);
    dy.normal(rng);
    for (int64_t at = 0; at < n; ++at) {
      const int64_t from = (at / inner / picks * axis + index[at]) * inner + at % inner;
      expected[at] = x[from];
      grad[from] += dy[at];
      grad_sum[from] += dy[at];
    }
    same_for_threads(out, "gather", [&] { k.gather.run({x.data(), index.data(), out.data(), outer, axis, picks, inner}); });
    CHECK(out.same_bits(expected) && out.guarded());
    same_for_threads(dx, "gather_backward",
                     [&] { k.gather_backward.run({dy.data(), index.data(), dx.data(), outer, axis, picks, inner, false}); });
    CHECK(dx.same_bits(grad) && dx.guarded());
    k.gather_backward.run({dy.data(), index.data(), sum.data(), outer, axis, picks, inner, true});
    CHECK(sum.same_bits(grad_sum) && sum.guarded());
    if (n == 0) continue;
    for (const int64_t bad : {int64_t{-1}, axis}) {
      index[n - 1] = static_cast<int32_t>(bad);
      const std::string message = text("gather: index must be within [0, %d), got %d", static_cast<int>(axis), static_cast<int>(bad));
      CHECK(error_of([&] { k.gather.run({x.data(), index.data(), out.data(), outer, axis, picks, inner}); }) == message);
      CHECK(error_of([&] { k.gather_backward.run({dy.data(), index.data(), dx.data(), outer, axis, picks, inner, false}); }) == message);
    }
  }
}

}  // namespace

int main() {
  const Backend& k = backend();
  Rng rng(2);
  test_copy(k, rng);
  test_half_bits(k);
  test_fill(k, rng);
  test_gather(k, rng);
  return result();
}
