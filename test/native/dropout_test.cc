// Dropout against its rule, element by element.
#include "core/random.h"
#include "views.h"

using namespace heddle;
using namespace check;

namespace {

bool kept(const RandomState& s, uint32_t stream, int64_t i, float p) {
  return philox(s.seed_low, s.seed_high, static_cast<uint64_t>(i) / 4, stream, s.step).x[i % 4] >= drop_threshold(p);
}

void test_rule(const Backend& k, Rng& rng) {
  for (const int64_t n : {0, 1, 3, 4, 5, 16, 31, 64, 65, 127, 8192, 20003})
    for (const float p : {0.0f, 0.1f, 0.5f, 0.99f, 1.0f}) {
      const RandomState state{static_cast<uint32_t>(rng.next()), static_cast<uint32_t>(rng.next()), static_cast<uint32_t>(rng.below(1000)),
                              0};
      const auto stream = static_cast<uint32_t>(rng.next());
      Floats x(n), y(n), sum(n), before(n), in_place(n);
      x.normal(rng);
      before.normal(rng);
      sum.copy(before);
      in_place.copy(x);
      same_for_threads(y, "dropout", [&] { k.dropout.run({DType::f32, x.data(), y.data(), n, p, &state, stream, false}); });
      k.dropout.run({DType::f32, x.data(), sum.data(), n, p, &state, stream, true});
      k.dropout.run({DType::f32, in_place.data(), in_place.data(), n, p, &state, stream, false});
      std::vector<double> ref, sum_ref;
      bool zeros = true;
      for (int64_t i = 0; i < n; ++i) {
        const bool keep = p < 1 && kept(state, stream, i, p);
        ref.push_back(keep ? static_cast<double>(x[i]) / (1 - static_cast<double>(p)) : 0);
        sum_ref.push_back(static_cast<double>(before[i]) + ref.back());
        zeros = zeros && (keep || y[i] == 0);
      }
      CHECK(zeros);
      CHECK_CLOSE(y, ref, 3e-7, "n=%d p=%g", static_cast<int>(n), static_cast<double>(p));
      CHECK_CLOSE(sum, sum_ref, 3e-7, "accumulate n=%d p=%g", static_cast<int>(n), static_cast<double>(p));
      CHECK(in_place.same_bits(y));
      if (p == 0) CHECK(y.same_bits(x));
      if (p == 1) CHECK(sum.same_bits(before));
    }
}

void test_special(const Backend& k) {
  constexpr int64_t n = 1 << 18;
  Floats x(n), y(n), z(n);
  x.fill(std::numeric_limits<float>::infinity());
  for (int64_t i = 0; i < n; i += 2) x[i] = std::numeric_limits<float>::quiet_NaN();
  const RandomState state{1, 2, 3, 0}, next{1, 2, 4, 0};
  k.dropout.run({DType::f32, x.data(), y.data(), n, 0.3f, &state, 9, false});
  int64_t dropped = 0;
  for (const float v : y) dropped += v == 0;  // a dropped NaN or infinity is 0
  CHECK_MSG(std::fabs(static_cast<double>(dropped) / n - 0.3) < 0.005, "dropped %g of 0.3", static_cast<double>(dropped) / n);
  x.fill(1);
  const auto agree = [&](const RandomState& other, uint32_t stream) {  // with (state, stream 9)
    k.dropout.run({DType::f32, x.data(), y.data(), n, 0.5f, &state, 9, false});
    k.dropout.run({DType::f32, x.data(), z.data(), n, 0.5f, &other, stream, false});
    int64_t same = 0;
    for (int64_t i = 0; i < n; ++i) same += y[i] == z[i];
    return static_cast<double>(same) / n;
  };
  CHECK(agree(state, 9) == 1);
  CHECK(std::fabs(agree(next, 9) - 0.5) < 0.01 && std::fabs(agree(state, 10) - 0.5) < 0.01);
  k.dropout.run({DType::f32, x.data(), y.data(), n, 1.0f, &state, 9, false});
  for (const float v : y) CHECK(v == 0);
}

// The two ends of the threshold, where one element in 2^32 tells a right comparison from a wrong one.
void test_threshold(const Backend& k) {
  constexpr int64_t n = 8000;
  const RandomState state{1, 2, 3, 0};
  Floats x(n), y(n);
  x.fill(1);
  const auto word = [&](uint32_t stream, int64_t i) { return philox(1, 2, static_cast<uint64_t>(i) / 4, stream, 3).x[i % 4]; };
  CHECK(word(39537, 6885) == ~0u);  // the largest: still dropped at p = 1
  k.dropout.run({DType::f32, x.data(), y.data(), n, 1.0f, &state, 39537, false});
  CHECK(y[6885] == 0);
  int met = 0;
  for (int64_t i = 0; i < n && met < 5; ++i) {
    const uint32_t bits = word(9, i);
    if (bits & 255) continue;
    const float p = static_cast<float>(bits) * 0x1p-32f;  // exact: the threshold is the element's own number
    k.dropout.run({DType::f32, x.data(), y.data(), n, p, &state, 9, false});
    CHECK(drop_threshold(p) == bits && y[i] > 0);
    ++met;
  }
  CHECK(met == 5);
}

}  // namespace

int main() {
  const Backend& k = backend();
  Rng rng(4);
  test_rule(k, rng);
  test_special(k);
  test_threshold(k);
  return result();
}
