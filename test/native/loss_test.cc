// Cross-entropy against plain double loops.
#include "check.h"

using namespace heddle;
using check::Floats;
using check::Ints;
using check::Rng;
using Reference = std::vector<double>;

namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();

struct Case {
  int64_t rows, cols, valid;
  double spread, shift, smoothing, z_loss;
  int ignored;  // rows whose target is ignore_index
  std::string name() const {
    return check::text("rows=%d cols=%d valid=%d spread=%g shift=%g smoothing=%g z=%g", static_cast<int>(rows), static_cast<int>(cols),
                       static_cast<int>(valid), spread, shift, smoothing, z_loss);
  }
};

void run_case(const Case& t, uint64_t seed) {
  const Backend& k = check::backend();
  Rng rng(seed);
  const std::string name = t.name();
  const int64_t n = t.rows * t.cols;
  Floats x(n), d(n), losses(t.rows), alone(t.rows), scale(1);
  Ints targets(t.rows);
  x.normal(rng, t.spread, t.shift);
  scale[0] = 0.37f;
  for (int64_t r = 0; r < t.rows; ++r) {
    targets[r] = r < t.ignored ? -100 : static_cast<int32_t>(rng.below(t.valid));
    for (int64_t c = t.valid; c < t.cols; ++c) x[r * t.cols + c] = std::nanf("");  // never read
  }
  const double smoothing = static_cast<float>(t.smoothing), z = static_cast<float>(t.z_loss), size = static_cast<double>(t.valid);
  Reference rl(t.rows, 0), rd(n, 0);
  for (int64_t r = t.ignored; r < t.rows; ++r) {
    const float* row = x.data() + r * t.cols;
    double max = -kInf, sum = 0, plain = 0;
    for (int64_t c = 0; c < t.valid; ++c) max = std::fmax(max, row[c]), plain += row[c];
    for (int64_t c = 0; c < t.valid; ++c) sum += std::exp(row[c] - max);
    const double lse = max + std::log(sum);
    rl[r] = lse - (1 - smoothing) * row[targets[r]] - smoothing * plain / size + z * lse * lse;
    for (int64_t c = 0; c < t.valid; ++c) {
      const double p = std::exp(row[c] - max) / sum;
      rd[r * t.cols + c] = scale[0] * ((1 + 2 * z * lse) * p - smoothing / size - (c == targets[r] ? 1 - smoothing : 0.0));
    }
  }
  const CrossEntropyArgs args{DType::f32,
                              x.data(),
                              d.data(),
                              targets.data(),
                              losses.data(),
                              scale.data(),
                              t.rows,
                              t.cols,
                              t.valid,
                              -100,
                              static_cast<float>(t.smoothing),
                              static_cast<float>(t.z_loss)};
  k.cross_entropy.run(args);
  CHECK_CLOSE(losses, rl, 2e-6, "%s", name.c_str());
  CHECK_CLOSE(d, rd, 2e-6, "%s", name.c_str());
  for (int64_t r = 0; r < t.ignored; ++r) CHECK(losses[r] == 0);

  CrossEntropyArgs no_gradient = args;
  no_gradient.dlogits = nullptr;
  no_gradient.losses = alone.data();
  k.cross_entropy.run(no_gradient);
  CHECK(alone.same_bits(losses));

  CrossEntropyArgs in_place = args;
  in_place.dlogits = x.data();
  k.cross_entropy.run(in_place);
  CHECK_MSG(x.same_bits(d) && x.guarded(), "in place, %s", name.c_str());
}

void run_edges() {
  const Backend& k = check::backend();
  for (const int64_t cols : {3, 40, 5000}) {
    // Masked logits cost nothing and get no gradient; a masked target costs infinity.
    Floats x(2 * cols), d(2 * cols), losses(2), scale(1);
    Ints targets(2);
    scale[0] = 1;
    x.fill(-kInf);
    x[cols - 1] = 2;
    x[cols + 1] = -3;
    targets[0] = static_cast<int32_t>(cols - 1);
    targets[1] = 0;
    k.cross_entropy.run({DType::f32, x.data(), d.data(), targets.data(), losses.data(), scale.data(), 2, cols, cols, -100, 0, 0});
    CHECK(losses[0] == 0 && losses[1] == kInf);
    for (int64_t c = 0; c < cols; ++c) CHECK(d[c] == 0 && d[cols + c] == (c == 0 ? -1.0f : c == 1 ? 1.0f : 0.0f));
    // NaN reaches the loss from wherever it stands.
    x.fill(1);
    x[cols / 2] = std::nanf("");
    k.cross_entropy.run({DType::f32, x.data(), d.data(), targets.data(), losses.data(), scale.data(), 2, cols, cols, -100, 0, 0});
    CHECK(std::isnan(losses[0]) && std::isfinite(losses[1]) && std::isnan(d[0]));
  }
  // Two logits far apart: the gradient at the target is the other's probability, not 0.
  Floats x(2), d(2), losses(1), scale(1);
  Ints target(1);
  x[0] = 20, x[1] = 0, target[0] = 0, scale[0] = 1;
  k.cross_entropy.run({DType::f32, x.data(), d.data(), target.data(), losses.data(), scale.data(), 1, 2, 2, -100, 0, 0});
  const double p = 1 / (1 + std::exp(20.0));
  CHECK(std::fabs(d[0] / p + 1) < 1e-6 && std::fabs(d[1] / p - 1) < 1e-6);
  CHECK(std::fabs(losses[0] / std::log1p(std::exp(-20.0)) - 1) < 1e-6);
}

void run_errors() {
  const Backend& k = check::backend();
  for (const int32_t bad : {70, 65, -1, -99}) {
    Floats x(4 * 72), before(4 * 72), losses(4), scale(1);
    Ints targets(4);
    x.fill(0.5f);
    before.copy(x);
    targets.fill(1);
    targets[0] = -100;
    targets[2] = bad;
    scale[0] = 1;
    const std::string message = check::error_of(
        [&] { k.cross_entropy.run({DType::f32, x.data(), x.data(), targets.data(), losses.data(), scale.data(), 4, 72, 65, -100, 0, 0}); });
    CHECK_MSG(message == check::text("crossEntropy: targets[2] must be within [0, 65) or -100 (ignored), got %d", bad), "%s",
              message.c_str());
    CHECK(x.same_bits(before));
  }
}

}  // namespace

int main() {
  uint64_t seed = 1;
  for (const int64_t valid : {1, 2, 7, 16, 33, 65, 257, 500, 2048, 2049, 5003})
    for (const double smoothing : {0.0, 0.1})
      for (const double z : {0.0, 1e-2})
        run_case({valid > 1000 ? 3 : 11, valid + static_cast<int64_t>(seed % 4) * 9, valid, 1 + static_cast<double>(seed % 3), 0, smoothing,
                  z, static_cast<int>(seed % 3)},
                 seed),
            ++seed;
  run_case({4, 50, 50, 100, 0, 0, 0, 0}, seed++);
  run_case({4, 5003, 5003, 3, 3e3, 0, 0, 1}, seed++);
  run_case({2, 50304, 50257, 3, -50, 0, 1e-4, 0}, seed++);
  run_case({5, 40, 40, 1, 0, 0.2, 0, 5}, seed++);
  run_edges();
  run_errors();
  return check::result();
}
