// Reductions over any strides, and column sums, against plain double loops.
#include "check.h"

using namespace heddle;
using check::Floats;
using check::Ints;
using check::Rng;
using Reference = std::vector<double>;

namespace {

constexpr Reduce kKinds[] = {Reduce::sum, Reduce::mean, Reduce::max, Reduce::min, Reduce::argmax, Reduce::argmin};
constexpr const char* kNames[] = {"sum", "mean", "max", "min", "argmax", "argmin"};

View view(float* data, const std::vector<int64_t>& shape, const std::vector<int64_t>& stride) {
  View v{data, DType::f32, static_cast<int32_t>(shape.size()), {}, {}};
  for (size_t i = 0; i < shape.size(); ++i) v.shape[i] = shape[i], v.stride[i] = stride[i];
  return v;
}

// Every kind over one view. `noise`: how the values are drawn: 0 normal, 1 few distinct values (ties), 2 with NaN and infinities.
void run_case(std::vector<int64_t> shape, std::vector<int64_t> stride, int kept, int noise, uint64_t seed) {
  const Backend& k = check::backend();
  Rng rng(seed);
  int64_t size = 1, outputs = 1, count = 1;
  std::string name = check::text("kept=%d noise=%d shape", kept, noise);
  for (size_t i = 0; i < shape.size(); ++i) {
    size += (shape[i] - 1) * stride[i];
    (static_cast<int>(i) < kept ? outputs : count) *= shape[i];
    name += check::text(" %d/%d", static_cast<int>(shape[i]), static_cast<int>(stride[i]));
  }
  Floats x(size);
  for (float& v : x) {
    v = static_cast<float>(noise == 1 ? static_cast<double>(rng.below(3)) : rng.normal());
    if (noise == 2 && rng.below(20) == 0) v = rng.below(2) ? std::nanf("") : rng.below(2) ? HUGE_VALF : -HUGE_VALF;
  }
  const auto element = [&](int64_t o, int64_t r) -> double {
    int64_t at = 0, index = o * count + r;
    for (size_t i = shape.size(); i-- > 0;) at += index % shape[i] * stride[i], index /= shape[i];
    return x[at];
  };
  Reference sum(outputs, 0), mean(outputs), max(outputs), min(outputs), argmax(outputs), argmin(outputs);
  for (int64_t o = 0; o < outputs; ++o) {
    double& high = max[o] = element(o, 0);
    double& low = min[o] = element(o, 0);
    argmax[o] = argmin[o] = 0;
    for (int64_t r = 0; r < count; ++r) {
      const double v = element(o, r);
      sum[o] += v;
      if (v > high || (std::isnan(v) && !std::isnan(high))) high = v, argmax[o] = static_cast<double>(r);
      if (v < low || (std::isnan(v) && !std::isnan(low))) low = v, argmin[o] = static_cast<double>(r);
    }
    mean[o] = sum[o] / static_cast<double>(count);
  }
  const Reference* const references[] = {&sum, &mean, &max, &min, &argmax, &argmin};
  for (int i = 0; i < 6; ++i) {
    Floats out(outputs);
    Ints picks(outputs);
    const bool arg = i >= 4, adds = i < 2;
    ReduceArgs args{kKinds[i], view(x.data(), shape, stride), kept, arg ? static_cast<void*>(picks.data()) : out.data(), false, nullptr};
    k.reduce.run(args);
    if (arg)
      for (int64_t o = 0; o < outputs; ++o) out[o] = static_cast<float>(picks[o]);
    CHECK(picks.guarded());
    CHECK_CLOSE(out, *references[i], adds ? 2e-6 : 0, "%s %s", kNames[i], name.c_str());
    if (!adds || noise == 2) continue;
    Floats twice(outputs);
    twice.copy(out);
    args.out = twice.data();
    args.accumulate = true;
    k.reduce.run(args);
    bool doubled = twice.guarded();
    for (int64_t o = 0; o < outputs; ++o) doubled = doubled && twice[o] == 2 * out[o];
    CHECK_MSG(doubled, "accumulate %s %s", kNames[i], name.c_str());
  }
}

void run_columns(int64_t rows, int64_t cols, uint64_t seed) {
  const Backend& k = check::backend();
  Rng rng(seed);
  Floats x(rows * cols), out(cols), base(cols);
  x.normal(rng, 1, 0.5);
  base.normal(rng);
  Reference sum(cols, 0), more(cols);
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t c = 0; c < cols; ++c) sum[c] += x[r * cols + c];
  for (int64_t c = 0; c < cols; ++c) more[c] = sum[c] + base[c];
  k.column_sum.run({DType::f32, x.data(), out.data(), rows, cols, false, nullptr});
  CHECK_CLOSE(out, sum, 2e-6, "column sum rows=%d cols=%d", static_cast<int>(rows), static_cast<int>(cols));
  k.column_sum.run({DType::f32, x.data(), base.data(), rows, cols, true, nullptr});
  CHECK_CLOSE(base, more, 2e-6, "column sum on top, rows=%d cols=%d", static_cast<int>(rows), static_cast<int>(cols));
}

}  // namespace

int main() {
  uint64_t seed = 1;
  for (int noise = 0; noise < 3; ++noise) {
    for (const int64_t n : {1, 2, 7, 15, 33, 64, 129, 1000, 16384, 16385, 50257}) run_case({n}, {1}, 0, noise, seed++);
    run_case({}, {}, 0, noise, seed++);
    run_case({5, 33}, {33, 1}, 1, noise, seed++);  // inner
    run_case({300, 7}, {7, 1}, 1, noise, seed++);
    run_case({3, 40000}, {40000, 1}, 1, noise, seed++);               // inner, several chunks
    run_case({33, 70}, {1, 33}, 1, noise, seed++);                    // leading
    run_case({300, 1000}, {1, 300}, 1, noise, seed++);                // leading, several chunks
    run_case({3, 5}, {1, 3}, 1, noise, seed++);                       // too few neighbours for columns
    run_case({4, 40, 9}, {360, 1, 40}, 2, noise, seed++);             // middle
    run_case({40, 6, 9}, {1, 400, 40}, 1, noise, seed++);             // leading, padded between: not one dimension
    run_case({6, 9, 40}, {1, 240, 6}, 1, noise, seed++);              // few neighbours, several dimensions
    run_case({5, 6, 7}, {2, 100, 11}, 1, noise, seed++);              // nothing dense
    run_case({4, 5, 8}, {0, 8, 1}, 1, noise, seed++);                 // broadcast, kept
    run_case({8, 5, 4}, {1, 0, 8}, 1, noise, seed++);                 // broadcast, reduced
    run_case({2, 1, 3, 1, 17}, {51, 1, 17, 1, 1}, 3, noise, seed++);  // dimensions of size 1
    run_case({7, 11}, {11, 1}, 2, noise, seed++);                     // nothing to reduce
    run_case({64, 3000}, {1, 64}, 1, noise, seed++);
    run_case({5000, 3}, {1, 5000}, 1, noise, seed++);  // few rows, many columns
  }
  for (int i = 0; i < 60; ++i) {  // a dense array of random rank with its dimensions in random order
    Rng rng(5000 + seed);
    const int rank = 1 + static_cast<int>(rng.below(4));
    std::vector<int64_t> shape(rank), stride(rank);
    int64_t step = 1;
    for (int d = rank - 1; d >= 0; --d) shape[d] = 1 + rng.below(19), stride[d] = step, step *= shape[d];
    for (int d = 0; d < rank; ++d) {
      const auto other = static_cast<int>(rng.below(rank));
      std::swap(shape[d], shape[other]);
      std::swap(stride[d], stride[other]);
    }
    run_case(shape, stride, static_cast<int>(rng.below(rank + 1)), i % 3, seed++);
  }
  for (const int64_t cols : {1, 5, 16, 33, 256, 770, 3072})
    for (const int64_t rows : {1, 8, 37, 256, 260, 1500})
      if (rows * cols < 1000000) run_columns(rows, cols, seed++);
  // No rows: zero; a mean of nothing is NaN; all -inf still has a place.
  const Backend& k = check::backend();
  Floats x(3), out(3);
  Ints place(1);
  k.column_sum.run({DType::f32, x.data(), out.data(), 0, 3, false, nullptr});
  for (const float v : out) CHECK(v == 0);
  k.reduce.run({Reduce::mean, view(x.data(), {1, 0}, {0, 1}), 1, out.data(), false, nullptr});
  CHECK(std::isnan(out[0]));
  x.fill(-HUGE_VALF);
  k.reduce.run({Reduce::argmax, view(x.data(), {3}, {1}), 0, place.data(), false, nullptr});
  CHECK(place[0] == 0);
  return check::result();
}
