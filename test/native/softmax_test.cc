// Softmax and log-softmax against plain double loops.
#include "check.h"

using namespace heddle;
using check::Floats;
using check::Rng;
using Reference = std::vector<double>;

namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();

// y of the rows of x in double.
Reference softmax(const Floats& x, int64_t rows, int64_t cols, bool log) {
  Reference y(rows * cols);
  for (int64_t r = 0; r < rows; ++r) {
    double max = -kInf, sum = 0;
    for (int64_t c = 0; c < cols; ++c) max = std::fmax(max, x[r * cols + c]);
    for (int64_t c = 0; c < cols; ++c) sum += std::exp(x[r * cols + c] - max);
    for (int64_t c = 0; c < cols; ++c) {
      const double z = x[r * cols + c] - max;
      y[r * cols + c] = log ? z - std::log(sum) : std::exp(z) / sum;
    }
  }
  return y;
}

void run_case(int64_t rows, int64_t cols, double scale, double shift, bool masked, bool log, uint64_t seed) {
  const Backend& k = check::backend();
  Rng rng(seed);
  const std::string name = check::text("rows=%d cols=%d scale=%g shift=%g masked=%d log=%d", static_cast<int>(rows), static_cast<int>(cols),
                                       scale, shift, masked, log);
  const int64_t n = rows * cols;
  Floats x(n), y(n), dy(n), dx(n);
  x.normal(rng, scale, shift);
  dy.normal(rng);
  if (masked)  // about half, never a whole row
    for (int64_t r = 0; r < rows; ++r)
      for (int64_t c = 0, keep = rng.below(cols); c < cols; ++c)
        if (c != keep && rng.below(2)) x[r * cols + c] = -kInf;
  k.softmax.run({DType::f32, x.data(), y.data(), rows, cols, log});
  const Reference ry = softmax(x, rows, cols, log);
  CHECK_CLOSE(y, ry, 2e-6, "%s", name.c_str());
  bool zeros = true;
  for (int64_t i = 0; i < n; ++i) zeros = zeros && (x[i] != -kInf || y[i] == (log ? -kInf : 0.0f));
  CHECK_MSG(zeros, "masked entries, %s", name.c_str());

  Reference rdx(n);
  for (int64_t r = 0; r < rows; ++r) {
    double sum = 0;
    for (int64_t i = r * cols; i < (r + 1) * cols; ++i) sum += log ? dy[i] : ry[i] * dy[i];
    for (int64_t i = r * cols; i < (r + 1) * cols; ++i) rdx[i] = log ? dy[i] - std::exp(ry[i]) * sum : ry[i] * (dy[i] - sum);
  }
  k.softmax_backward.run({DType::f32, y.data(), dy.data(), dx.data(), rows, cols, log, false});
  CHECK_CLOSE(dx, rdx, cols == 1 ? 5e-3 : 2e-6, "%s", name.c_str());
  Floats twice(n);
  twice.copy(dx);
  k.softmax_backward.run({DType::f32, y.data(), dy.data(), twice.data(), rows, cols, log, true});
  bool doubled = twice.guarded();
  for (int64_t i = 0; i < n; ++i) doubled = doubled && twice[i] == 2 * dx[i];
  CHECK_MSG(doubled, "accumulate, %s", name.c_str());
}

}  // namespace

int main() {
  uint64_t seed = 1;
  for (const bool log : {false, true}) {
    for (const int64_t cols : {1, 2, 7, 15, 16, 17, 31, 32, 33, 48, 65, 257, 1000, 5003})
      for (const int64_t rows : {1, 5, 70}) {
        if (rows * cols > 100000) continue;
        run_case(rows, cols, 1, 0, false, log, seed++);
        run_case(rows, cols, 5, 0, cols > 1, log, seed++);
      }
    run_case(4, 33, 1000, 0, false, log, seed++);
    run_case(6, 100, 3, 2e4, false, log, seed++);
    run_case(6, 100, 3, -2e4, false, log, seed++);
    run_case(1, 50257, 4, 0, false, log, seed++);
  }
  // A row of -inf alone, one with NaN, one with +inf: NaN, and the row beside it is untouched by that.
  const Backend& k = check::backend();
  for (const bool log : {false, true})
    for (const float bad : {-kInf, std::nanf(""), kInf})
      for (const int64_t cols : {5, 40}) {
        Floats x(2 * cols), y(2 * cols);
        x.fill(1);
        for (int64_t c = 0; c < cols; ++c)
          if (bad == -kInf || c == 3) x[c] = bad;
        k.softmax.run({DType::f32, x.data(), y.data(), 2, cols, log});
        for (int64_t c = 0; c < cols; ++c) CHECK(std::isfinite(y[cols + c]) && (std::isnan(y[c]) || (log && bad == kInf && y[c] == -kInf)));
      }
  return check::result();
}
