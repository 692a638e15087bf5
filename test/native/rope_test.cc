// Rotary positions against a double computation: both conventions, partial, inverse, strided, in place.
#include <thread>

#include "check.h"
#include "cpu/host/thread_pool.h"

using namespace heddle;
using check::Floats;
using check::Ints;
using check::Rng;

namespace {

const Backend* kernels;

struct Case {
  int64_t B, T, H, D, rotary;
  bool interleaved, inverse, accumulate, given_positions, in_place;
  int64_t first;
  float theta;
  int64_t gap;  // elements between the rows of x and y
  std::string text() const {
    return check::text("B=%d T=%d H=%d D=%d rotary=%d interleaved=%d inverse=%d accumulate=%d positions=%d in_place=%d first=%d theta=%g",
                       int(B), int(T), int(H), int(D), int(rotary), interleaved, inverse, accumulate, given_positions, in_place, int(first),
                       static_cast<double>(theta));
  }
};

RopeArgs arguments(const Case& c, const Floats& x, Floats& y, const Ints& positions) {
  RopeArgs a{};
  a.x = x.data(), a.y = y.data();
  a.B = c.B, a.T = c.T, a.H = c.H, a.D = c.D, a.rotary = c.rotary;
  const int64_t row = c.H * c.D + c.gap;
  for (int64_t* s : {a.x_stride, a.y_stride}) s[0] = c.T * row, s[1] = row, s[2] = c.D;
  a.positions = c.given_positions ? positions.data() : nullptr;
  a.first = c.first, a.theta = c.theta, a.interleaved = c.interleaved, a.inverse = c.inverse, a.accumulate = c.accumulate;
  return a;
}

Ints& draw_positions(Ints& positions, Rng& rng, int64_t T) {
  for (int64_t i = 0; i < positions.size(); ++i)
    positions[i] = static_cast<int32_t>(i % T && rng.below(4) ? positions[i - 1] + 1 : rng.below(5000));  // runs, as of documents
  return positions;
}

void compare(const Case& c, uint64_t seed) {
  Rng rng(seed);
  const int64_t row = c.H * c.D + c.gap, n = c.B * c.T * row;
  Floats x(n), y(n), before(n);
  Ints positions(c.B * c.T);
  x.normal(rng), before.normal(rng), draw_positions(positions, rng, c.T);
  if (c.accumulate) y.copy(before);
  std::vector<double> ref(n, NAN);
  for (int64_t i = 0; i < n; ++i)
    if (c.accumulate) ref[i] = before[i];
  for (int64_t b = 0; b < c.B; ++b)
    for (int64_t t = 0; t < c.T; ++t)
      for (int64_t h = 0; h < c.H; ++h) {
        const int64_t at = (b * c.T + t) * row + h * c.D;
        const int64_t position = c.given_positions ? positions[b * c.T + t] : c.first + t;
        std::vector<double> turned(&x[at], &x[at] + c.D);
        for (int64_t i = 0; i < c.rotary / 2; ++i) {
          const double angle = (c.inverse ? -1.0 : 1.0) * position * std::pow(static_cast<double>(c.theta), -2.0 * i / c.rotary);
          const int64_t p = c.interleaved ? 2 * i : i, q = c.interleaved ? 2 * i + 1 : i + c.rotary / 2;
          turned[p] = x[at + p] * std::cos(angle) - x[at + q] * std::sin(angle);
          turned[q] = x[at + q] * std::cos(angle) + x[at + p] * std::sin(angle);
        }
        for (int64_t d = 0; d < c.D; ++d) ref[at + d] = turned[d] + (c.accumulate ? before[at + d] : 0.0);
      }
  if (c.in_place) {
    y.copy(x);
    if (c.gap)
      for (int64_t r = 0; r < c.B * c.T; ++r)
        for (int64_t g = 0; g < c.gap; ++g) y[r * row + c.H * c.D + g] = NAN;
  }
  kernels->rope.run(arguments(c, c.in_place ? y : x, y, positions));
  CHECK_CLOSE(y, ref, 3e-7, "%s", c.text().c_str());  // NaN in the gaps must still be there
}

void test_against_reference() {
  Rng rng(7);
  const int64_t sizes[] = {2, 8, 16, 24, 32, 50, 64, 80, 128};
  for (int n = 0; n < 200; ++n) {
    Case c{};
    c.B = 1 + rng.below(3), c.T = 1 + rng.below(n % 5 ? 40 : 150), c.H = 1 + rng.below(4), c.D = sizes[rng.below(9)];
    c.rotary = rng.below(2) ? c.D : 2 * (1 + rng.below(c.D / 2));
    c.interleaved = rng.below(2), c.inverse = rng.below(2), c.given_positions = rng.below(2);
    c.accumulate = rng.below(3) == 0, c.in_place = !c.accumulate && rng.below(3) == 0;
    c.first = rng.below(3) ? rng.below(40) : rng.below(100000);
    c.theta = rng.below(2) ? 10000.0f : 500000.0f;
    c.gap = rng.below(2) * 5;
    compare(c, static_cast<uint64_t>(n));
  }
}

// A position gives the same bits in a long sequence and alone, first in the batch or last.
void test_rows_stand_alone() {
  for (bool interleaved : {false, true}) {
    const Case c{2, 100, 3, 40, 40, interleaved, false, false, false, false, 17, 10000.0f, 0};
    Rng rng(3);
    Floats x(c.B * c.T * c.H * c.D), y(x.size());
    Ints none(1);
    x.normal(rng);
    kernels->rope.run(arguments(c, x, y, none));
    for (int64_t b = 0; b < c.B; ++b)
      for (int64_t t = 0; t < c.T; ++t) {
        Case one = c;
        one.B = one.T = 1, one.first = c.first + t;
        Floats x1(c.H * c.D), y1(c.H * c.D);
        std::memcpy(x1.data(), &x[(b * c.T + t) * c.H * c.D], sizeof(float) * c.H * c.D);
        kernels->rope.run(arguments(one, x1, y1, none));
        const bool same = std::memcmp(y1.data(), &y[(b * c.T + t) * c.H * c.D], sizeof(float) * c.H * c.D) == 0;
        CHECK_MSG(same, "position %d alone", int(c.first + t));
      }
  }
}

void test_bits_for_any_thread_count() {
  const Case c{3, 90, 4, 64, 48, false, false, false, true, false, 0, 10000.0f, 0};
  Rng rng(4);
  Floats x(c.B * c.T * c.H * c.D), one(x.size()), four(x.size());
  Ints positions(c.B * c.T);
  x.normal(rng), draw_positions(positions, rng, c.T);
  kernels->rope.run(arguments(c, x, one, positions));
  std::thread([&] {
    cpu::ThreadPool pool(4);
    pool.make_current();
    kernels->rope.run(arguments(c, x, four, positions));
  }).join();
  CHECK(one.same_bits(four));
}

void test_nan_is_not_hidden() {
  const Case c{1, 1, 1, 32, 16, false, false, false, false, false, 5, 10000.0f, 0};
  Rng rng(1);
  Floats x(32), y(32);
  Ints none(1);
  x.normal(rng);
  x[3] = x[20] = NAN;
  kernels->rope.run(arguments(c, x, y, none));
  for (int64_t d = 0; d < 32; ++d) CHECK_MSG(std::isnan(y[d]) == (d == 3 || d == 11 || d == 20), "element %d", int(d));
}

}  // namespace

int main() {
  kernels = &check::backend();
  test_against_reference();
  test_rows_stand_alone();
  test_bits_for_any_thread_count();
  test_nan_is_not_hidden();
  return check::result();
}
