// test_kernels.cpp - checks every kernel against a plain reference, under several schedules.
//   test_kernels [--filter name] [--seeds n] [--race] [--bench]
// --bench: PTX instructions of warps per second, single-threaded, the best of some runs.
#include <cmath>
#include <cstdio>
#include <cstring>
#include <functional>
#include <random>
#include <string>
#include <vector>

#include "device_buffer.h"
#include "kernels/kernels.h"
#include "sim/control.h"

namespace {

std::vector<bf16> random_bf16(size_t n, unsigned seed, float scale = 1.0f) {
  std::mt19937 rng(seed);
  std::normal_distribution<float> dist(0.0f, scale);
  std::vector<bf16> v(n);
  for (bf16& x : v) x = __float2bfloat16(dist(rng));
  return v;
}

float f(bf16 x) { return __bfloat162float(x); }
float f(float x) { return x; }

// Largest |got - want| / (absolute + relative * |want|); above 1 (or NaN) is a failure.
template <class T>
double worst(const std::vector<T>& got, const std::vector<double>& want, double absolute, double relative) {
  double w = 0;
  for (size_t i = 0; i < want.size(); ++i) {
    double e = std::abs(double(f(got[i])) - want[i]) / (absolute + relative * std::abs(want[i]));
    if (!(e <= w)) w = std::isnan(e) ? INFINITY : e;
  }
  return w;
}

double check_layernorm(int rows, int cols) {
  const auto x = random_bf16(size_t(rows) * cols, 1), w = random_bf16(cols, 2), b = random_bf16(cols, 3);
  DeviceBuffer<bf16> dx(x), dw(w), db(b), dy(x.size());
  DeviceBuffer<float> dm(rows), dr(rows);
  layernorm_forward(dy.get(), dm.get(), dr.get(), dx.get(), dw.get(), db.get(), rows, cols);
  std::vector<double> y(x.size()), mean(rows), rstd(rows);
  for (int r = 0; r < rows; ++r) {
    double m = 0, s = 0;
    for (int c = 0; c < cols; ++c) m += f(x[size_t(r) * cols + c]);
    m /= cols;
    for (int c = 0; c < cols; ++c) s += std::pow(f(x[size_t(r) * cols + c]) - m, 2);
    mean[r] = m;
    rstd[r] = 1 / std::sqrt(s / cols + 1e-5);
    for (int c = 0; c < cols; ++c) y[size_t(r) * cols + c] = (f(x[size_t(r) * cols + c]) - m) * rstd[r] * f(w[c]) + f(b[c]);
  }
  return std::max({worst(dy.read(), y, 1e-2, 1e-2), worst(dm.read(), mean, 1e-5, 1e-4), worst(dr.read(), rstd, 1e-5, 1e-4)});
}

std::vector<double> reference_matmul(const std::vector<bf16>& a, const std::vector<bf16>& b, int m, int n, int k, bool b_transposed) {
  std::vector<float> fa(a.size()), fb(b.size());
  for (size_t i = 0; i < a.size(); ++i) fa[i] = f(a[i]);
  for (int j = 0; j < n; ++j)
    for (int l = 0; l < k; ++l) fb[size_t(j) * k + l] = f(b[b_transposed ? size_t(j) * k + l : size_t(l) * n + j]);
  std::vector<double> c(size_t(m) * n);
  for (int i = 0; i < m; ++i)
    for (int j = 0; j < n; ++j) {
      double s = 0;
      for (int l = 0; l < k; ++l) s += double(fa[size_t(i) * k + l]) * fb[size_t(j) * k + l];
      c[size_t(i) * n + j] = s;
    }
  return c;
}

double check_matmul(int m, int n, int k) {
  const auto a = random_bf16(size_t(m) * k, 1), b = random_bf16(size_t(n) * k, 2);
  DeviceBuffer<bf16> da(a), db(b);
  DeviceBuffer<float> dc(size_t(m) * n);
  matmul_tn(dc.get(), da.get(), db.get(), m, n, k);
  return worst(dc.read(), reference_matmul(a, b, m, n, k, true), 1e-3, 1e-4);
}

double check_matmul_sm90(int m, int n, int k, bool b_transposed) {
  const auto a = random_bf16(size_t(m) * k, 1), b = random_bf16(size_t(n) * k, 2);
  DeviceBuffer<bf16> da(a), db(b), dc(size_t(m) * n);
  (b_transposed ? matmul_tn_sm90 : matmul_nn_sm90)(dc.get(), da.get(), db.get(), m, n, k, nullptr);
  return worst(dc.read(), reference_matmul(a, b, m, n, k, b_transposed), 1e-3, 1e-2);
}

double check_attention(int heads, int t) {
  const size_t n = size_t(heads) * t * 64;
  const auto q = random_bf16(n, 1), k = random_bf16(n, 2), v = random_bf16(n, 3);
  DeviceBuffer<bf16> dq(q), dk(k), dv(v), d_out(n);
  DeviceBuffer<float> d_lse(size_t(heads) * t);
  const float scale = 0.125f;
  attention_forward(d_out.get(), d_lse.get(), dq.get(), dk.get(), dv.get(), heads, t, scale);
  std::vector<double> out(n), lse(size_t(heads) * t);
  for (int h = 0; h < heads; ++h)
    for (int i = 0; i < t; ++i) {
      std::vector<double> s(i + 1);
      double m = -INFINITY, sum = 0;
      auto at = [&](const std::vector<bf16>& x, int row, int d) { return double(f(x[(size_t(h) * t + row) * 64 + d])); };
      for (int j = 0; j <= i; ++j) {
        for (int d = 0; d < 64; ++d) s[j] += at(q, i, d) * at(k, j, d);
        s[j] *= scale;
        m = std::max(m, s[j]);
      }
      for (double& x : s) sum += x = std::exp(x - m);
      lse[size_t(h) * t + i] = m + std::log(sum);
      for (int d = 0; d < 64; ++d) {
        double o = 0;
        for (int j = 0; j <= i; ++j) o += s[j] / sum * at(v, j, d);
        out[(size_t(h) * t + i) * 64 + d] = o;
      }
    }
  return std::max(worst(d_out.read(), out, 1e-2, 1e-2), worst(d_lse.read(), lse, 1e-4, 1e-4));
}

struct Case {
  std::string name;
  std::function<double()> run;
};

std::vector<Case> cases() {
  std::vector<Case> c;
  auto add = [&](std::string name, std::function<double()> run) { c.push_back({std::move(name), std::move(run)}); };
  for (auto [r, n] : {std::pair{3, 8}, {4, 768}, {2, 2056}})
    add("layernorm " + std::to_string(r) + "x" + std::to_string(n), [=] { return check_layernorm(r, n); });
  for (auto [m, n, k] : {std::tuple{128, 128, 32}, {128, 128, 96}, {100, 72, 40}, {130, 257, 136}, {1, 1, 8}})
    add("matmul " + std::to_string(m) + "x" + std::to_string(n) + "x" + std::to_string(k), [=] { return check_matmul(m, n, k); });
  for (auto [h, t] : {std::pair{1, 64}, {2, 128}, {1, 200}, {2, 37}, {1, 1}})
    add("attention " + std::to_string(h) + "x" + std::to_string(t), [=] { return check_attention(h, t); });
  for (bool tn : {true, false})
    for (auto [m, n, k] : {std::tuple{128, 128, 64}, {128, 128, 384}, {200, 136, 88}})
      add(std::string("sm90_") + (tn ? "tn " : "nn ") + std::to_string(m) + "x" + std::to_string(n) + "x" + std::to_string(k),
          [=] { return check_matmul_sm90(m, n, k, tn); });
  return c;
}

std::vector<Case> bench_cases() {
  return {{"matmul 256x256x256", [] { return check_matmul(256, 256, 256); }},
          {"attention 1x256", [] { return check_attention(1, 256); }},
          {"matmul 512x512x512", [] { return check_matmul(512, 512, 512); }},
          {"attention 1x1024", [] { return check_attention(1, 1024); }},
          {"layernorm 64x768", [] { return check_layernorm(64, 768); }},
          {"sm90_tn 256x256x256", [] { return check_matmul_sm90(256, 256, 256, true); }}};
}

// Millions of PTX instructions, of all launches.
double count_instructions(const Case& c) {
  simSetProfile(1);
  simProfileClear();
  c.run();
  double n = 0;
  for (int k = 0; k < simProfileCount(); ++k) {
    const std::string json = simProfileJson(k), key = "\"warpInstructions\":";
    n += atof(json.c_str() + json.find(key) + key.size()) * 1e-6;
  }
  simSetProfile(0);
  return n;
}

int measure(const std::string& filter) {
  simSetThreads(1);
  for (const Case& c : bench_cases()) {
    if (c.name.find(filter) == std::string::npos) continue;
    const double millions = count_instructions(c);
    double best = INFINITY;
    for (int k = 0; k < 7; ++k) {
      simKernelMs();
      c.run();
      best = std::min(best, simKernelMs());
    }
    printf("%-22s %6.2f million instructions, %6.1f ms, %5.1f million per second\n", c.name.c_str(), millions, best, millions / best * 1e3);
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  std::string filter;
  int seeds = 4;
  bool bench = false, race = false, quit = false;  // quit: at the first failure
  for (int i = 1; i < argc; ++i) {
    if (!strcmp(argv[i], "--filter"))
      filter = argv[++i];
    else if (!strcmp(argv[i], "--seeds"))
      seeds = atoi(argv[++i]);
    else if (!strcmp(argv[i], "--bench"))
      bench = true;
    else if (!strcmp(argv[i], "--race"))
      race = true;
    else if (!strcmp(argv[i], "--quit"))
      quit = true;
  }
  simSetRace(race);
  if (bench) return measure(filter);
  int failures = 0;
  for (const Case& c : cases()) {
    if (c.name.find(filter) == std::string::npos) continue;
    for (int seed = 0; seed < seeds; ++seed) {
      simSetSeed(unsigned(seed));
      simKernelMs();
      std::string problem;
      double error = 0;
      try {
        error = c.run();
        if (!(error <= 1)) problem = "wrong result, error " + std::to_string(error) + " x tolerance";
      } catch (const std::exception& e) {
        problem = e.what();
      }
      const double ms = simKernelMs();
      failures += !problem.empty();
      printf("%s %-24s seed %d  error %.2g  %.1f ms%s%s\n", problem.empty() ? "ok  " : "FAIL", c.name.c_str(), seed, error, ms,
             problem.empty() ? "" : "\n       ", problem.c_str());
      if (quit && failures) return 1;
      simReset();
    }
  }
  printf(failures ? "%d FAILED\n" : "all passed\n", failures);
  return failures != 0;
}
