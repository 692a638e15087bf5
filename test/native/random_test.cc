// Random arrays: known answers, the element rule, distributions, and the same bits at every level.
#include "core/random.h"

#include "views.h"

using namespace heddle;
using namespace check;

namespace {

Floats& draw(const Backend& k, Floats& out, Distribution d, float a, float b, uint64_t seed, uint32_t stream) {
  k.random.run({out.data(), out.size(), d, a, b, static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32), stream});
  return out;
}

// Known answers of Random123's philox4x32-10 (kat_vectors): counter and key all 0, all 1s, and digits of pi.
void test_known_answers() {
  const auto same = [](const Random4& r, uint32_t a, uint32_t b, uint32_t c, uint32_t d) {
    return r.x[0] == a && r.x[1] == b && r.x[2] == c && r.x[3] == d;
  };
  CHECK(same(philox(0, 0, 0, 0, 0), 0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8));
  CHECK(same(philox(~0u, ~0u, ~uint64_t{0}, ~0u, ~0u), 0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd));
  CHECK(same(philox(0xa4093822, 0x299f31d0, 0x85a308d3243f6a88u, 0x13198a2e, 0x03707344), 0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1));
}

void test_elements(const Backend& k, Rng& rng) {
  for (const int64_t n : {0, 1, 2, 3, 4, 5, 15, 16, 17, 63, 64, 65, 8191, 8192, 30001}) {
    const uint64_t seed = rng.next();
    const auto stream = static_cast<uint32_t>(rng.next());
    Floats uniform(n), normal(n);
    same_for_threads(uniform, "uniform", [&] { draw(k, uniform, Distribution::uniform, 0, 1, seed, stream); });
    same_for_threads(normal, "normal", [&] { draw(k, normal, Distribution::normal, 0.5f, 2, seed, stream); });
    bool exact = true;
    std::vector<double> ref;
    for (int64_t i = 0; i < n; ++i) {
      const Random4 r = philox(static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32), static_cast<uint64_t>(i) / 4, stream, 0);
      exact = exact && uniform[i] == uniform_of(r.x[i % 4]);
      const uint32_t radius = r.x[i % 4 / 2 * 2], angle = r.x[i % 4 / 2 * 2 + 1];
      const double u = static_cast<double>((static_cast<float>(radius >> 1) + 0.5f) * 0x1p-31f);  // in f32, as the rule says
      const double turn = 6.283185307179586 * 0x1p-32 * static_cast<double>(angle);
      ref.push_back(0.5 + 2 * std::sqrt(-2 * std::log(u)) * (i % 2 ? std::sin(turn) : std::cos(turn)));
    }
    CHECK(exact && uniform.guarded());
    CHECK_CLOSE(normal, ref, 1e-6, "normal n=%d", static_cast<int>(n));
  }
}

void test_distributions(const Backend& k) {
  constexpr int64_t n = 1 << 19;
  Floats x(n);
  draw(k, x, Distribution::uniform, -1, 3, 7, 1);
  double sum = 0, squares = 0;
  bool inside = true;
  int bins[16] = {};
  for (const float v : x) {
    inside = inside && v >= -1 && v < 3;
    sum += static_cast<double>(v);
    squares += static_cast<double>(v) * static_cast<double>(v);
    ++bins[static_cast<int>((v + 1) * 4) & 15];
  }
  CHECK(inside);
  CHECK_MSG(std::fabs(sum / n - 1) < 0.008 && std::fabs(squares / n - 7.0 / 3) < 0.02, "uniform: mean %g, second moment %g", sum / n,
            squares / n);
  double chi = 0;
  for (const int b : bins) chi += (b - n / 16.0) * (b - n / 16.0) / (n / 16.0);
  CHECK_MSG(chi < 45, "uniform: chi-square of 16 bins %g", chi);  // p = 1e-4 at 44.3

  draw(k, x, Distribution::normal, 0, 1, 7, 1);
  double moments[5] = {}, neighbours = 0, largest = 0;
  for (int64_t i = 0; i < n; ++i) {
    const double v = static_cast<double>(x[i]);
    for (int m = 1; m <= 4; ++m) moments[m] += std::pow(v, m) / n;
    neighbours += v * static_cast<double>(x[i ^ 1]) / n;
    largest = std::fmax(largest, std::fabs(v));
  }
  CHECK_MSG(
      std::fabs(moments[1]) < 0.007 && std::fabs(moments[2] - 1) < 0.01 && std::fabs(moments[3]) < 0.02 && std::fabs(moments[4] - 3) < 0.06,
      "normal: moments %g %g %g %g", moments[1], moments[2], moments[3], moments[4]);
  CHECK_MSG(std::fabs(neighbours) < 0.01, "normal: the numbers of a pair correlate by %g", neighbours);
  CHECK_MSG(largest > 4.2 && largest < 6.7, "normal: largest %g", largest);

  Floats other(1000), again(1000);
  draw(k, other, Distribution::normal, 0, 1, 7, 2);
  draw(k, again, Distribution::normal, 0, 1, 7, 1);
  int equal_streams = 0, equal_prefix = 0;
  for (int64_t i = 0; i < 1000; ++i) {
    equal_streams += other[i] == x[i];
    equal_prefix += again[i] == x[i];
  }
  CHECK(equal_streams < 3 && equal_prefix == 1000);
}

// Every level and machine draws these bits: FNV-1a over an array of each kind.
void test_same_everywhere(const Backend& k) {
  const auto hash = [](const Floats& x) {
    uint64_t h = 0xcbf29ce484222325u;
    for (const float v : x) {
      uint32_t bits;
      std::memcpy(&bits, &v, 4);
      h = (h ^ bits) * 0x100000001b3u;
    }
    return h;
  };
  Floats x(100003);
  const uint64_t uniform = hash(draw(k, x, Distribution::uniform, -0.1f, 0.3f, 1234, 5));
  const uint64_t normal = hash(draw(k, x, Distribution::normal, 0, 0.02f, 1234, 5));
  CHECK_MSG(uniform == 0x797ac09dfa076b9cu, "uniform: 0x%016llx", static_cast<unsigned long long>(uniform));
  CHECK_MSG(normal == 0x8aeac009b2dd26a5u, "normal: 0x%016llx", static_cast<unsigned long long>(normal));
}

}  // namespace

int main() {
  const Backend& k = backend();
  Rng rng(3);
  test_known_answers();
  test_elements(k, rng);
  test_distributions(k);
  test_same_everywhere(k);
  return result();
}
