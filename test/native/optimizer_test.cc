// The optimizers against double references that follow the papers, over several steps; step_begin and grad_norm.
#include "views.h"

using namespace heddle;
using namespace check;

namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();

StepState fresh() {
  StepState s{};
  s.clip = 1;
  s.loss_scale = 1;
  return s;
}

double number(float x) { return static_cast<double>(x); }

// One parameter in double.
struct Reference {
  double p, m = 0, v = 0;

  void step(const OptimizerArgs& a, double g, double lr, int t, bool decays) {
    const double wd = decays ? number(a.weight_decay) : 0;
    switch (a.kind) {
      case Optimizer::adamw:
      case Optimizer::adam: {
        if (a.kind == Optimizer::adamw)
          p *= 1 - lr * wd;
        else
          g += wd * p;
        m = a.beta1 * m + (1 - a.beta1) * g;
        v = a.beta2 * v + (1 - a.beta2) * g * g;
        const double m_hat = m / (1 - std::pow(a.beta1, t)), v_hat = v / (1 - std::pow(a.beta2, t));
        p -= lr * m_hat / (std::sqrt(v_hat) + number(a.eps));
        return;
      }
      case Optimizer::sgd:
        g += wd * p;
        if (a.beta1 != 0) {
          m = t == 1 ? g : a.beta1 * m + (1 - number(a.dampening)) * g;
          g = a.nesterov ? g + a.beta1 * m : m;
        }
        p -= lr * g;
        return;
      case Optimizer::lion: {
        const double c = a.beta1 * m + (1 - a.beta1) * g;
        p = p * (1 - lr * wd) - lr * (double(c > 0) - double(c < 0));
        m = a.beta2 * m + (1 - a.beta2) * g;
        return;
      }
    }
  }
};

struct Setting {
  const char* name;
  Optimizer kind;
  double beta1, beta2;
  float eps, weight_decay, dampening;
  bool nesterov;
};

const Setting kSettings[] = {
    {"adamw", Optimizer::adamw, 0.9, 0.95, 1e-8f, 0.1f, 0, false},
    {"adamw, no decay", Optimizer::adamw, 0.9, 0.999, 1e-8f, 0, 0, false},
    {"adam", Optimizer::adam, 0.9, 0.999, 1e-8f, 0, 0, false},
    {"adam, L2", Optimizer::adam, 0.8, 0.99, 1e-6f, 0.05f, 0, false},
    {"sgd", Optimizer::sgd, 0, 0, 0, 0, 0, false},
    {"sgd, decay", Optimizer::sgd, 0, 0, 0, 0.01f, 0, false},
    {"sgd, momentum", Optimizer::sgd, 0.9, 0, 0, 0.01f, 0, false},
    {"sgd, nesterov", Optimizer::sgd, 0.9, 0, 0, 0, 0, true},
    {"sgd, dampening", Optimizer::sgd, 0.9, 0, 0, 0, 0.1f, false},
    {"lion", Optimizer::lion, 0.9, 0.99, 0, 0.1f, 0, false},
};

void test_optimizers(const Backend& k, Rng& rng) {
  for (const Setting& set : kSettings)
    for (const auto& [n, decay_n] :
         std::vector<std::pair<int64_t, int64_t>>{{0, 0}, {1, 1}, {35, 35}, {37, 20}, {100, 0}, {20011, 16390}}) {
      Floats p(n), g(n), m(n), v(n);
      p.normal(rng);
      const bool has_m = set.kind != Optimizer::sgd || set.beta1 != 0, adam = set.kind == Optimizer::adamw || set.kind == Optimizer::adam;
      if (set.kind != Optimizer::sgd) m.fill(0);  // sgd's first update writes it unread
      v.fill(0);
      std::vector<Reference> ref;
      for (const float x : p) ref.push_back({number(x)});
      StepState state = fresh();
      state.loss_scale = 8;
      const OptimizerArgs args{set.kind,
                               p.data(),
                               has_m ? m.data() : nullptr,
                               adam ? v.data() : nullptr,
                               g.data(),
                               nullptr,
                               DType::f32,
                               n,
                               decay_n,
                               &state,
                               set.beta1,
                               set.beta2,
                               set.eps,
                               set.weight_decay,
                               set.dampening,
                               set.nesterov};
      for (int t = 1; t <= 6; ++t) {
        const float lr = 0.01f / static_cast<float>(t), clip = t % 2 ? 1.0f : 0.5f;
        const double scale = t == 3 ? 1e-4 : t == 5 ? 50 : 1;  // so that eps and the bias correction count
        g.normal(rng, 8 * scale);
        state.next_lr = lr;
        k.step_begin.run({&state, false});
        state.clip = clip;
        CHECK(state.updates == t && state.lr == lr && state.skip == 0);
        if (t == 2) {  // the same update with one thread and with three
          Floats p0(n), m0(n), v0(n);
          p0.copy(p);
          m0.copy(m);
          v0.copy(v);
          same_for_threads(p, set.name, [&] {
            p.copy(p0);
            m.copy(m0);
            v.copy(v0);
            k.optimizer.run(args);
          });
        } else {
          k.optimizer.run(args);
        }
        for (int64_t i = 0; i < n; ++i) ref[static_cast<size_t>(i)].step(args, number(g[i]) * number(clip) / 8, number(lr), t, i < decay_n);
      }
      std::vector<double> p_ref, m_ref, v_ref;
      for (const Reference& r : ref) {
        p_ref.push_back(r.p);
        m_ref.push_back(r.m);
        v_ref.push_back(r.v);
      }
      const int length = static_cast<int>(n);
      CHECK_CLOSE(p, p_ref, 1e-6, "%s n=%d", set.name, length);
      if (has_m) CHECK_CLOSE(m, m_ref, 5e-7, "%s n=%d", set.name, length);
      if (adam) CHECK_CLOSE(v, v_ref, 5e-7, "%s n=%d", set.name, length);
      CHECK(g.guarded());

      Floats p0(n), m0(n), v0(n);
      p0.copy(p);
      m0.copy(m);
      v0.copy(v);
      state.skip = 1;
      g.fill(kInf);
      k.optimizer.run(args);
      CHECK(p.same_bits(p0) && m.same_bits(m0) && v.same_bits(v0));
    }
}

// Ten steps of PyTorch in float64 (Lion: its paper's formula) on one parameter.
void test_golden(const Backend& k) {
  struct Golden {
    Setting set;
    float lr, p0;
    float g[10];
    float p;
  };
  const Golden cases[] = {
      {{"adamw", Optimizer::adamw, 0.9, 0.95, 1e-08f, 0.1f, 0.0f, false},
       0.01f,
       -0.619550824f,
       {-0.545253634f, -1.17882288f, 0.321811289f, -7.18946758e-05f, -0.478176266f, 0.765746176f, -0.0335032232f, 85.2082825f,
        -0.646221995f, 0.493847191f},
       -0.587084711f},
      {{"adamw_nowd", Optimizer::adamw, 0.9, 0.999, 1e-08f, 0.0f, 0.0f, false},
       0.001f,
       0.90775758f,
       {-0.0415617451f, 0.48538363f, -0.794083595f, 4.8071226e-05f, -0.949397445f, 0.836152256f, 0.562436402f, 49.8467255f, -1.51084435f,
        0.820561767f},
       0.907778978f},
      {{"adam", Optimizer::adam, 0.9, 0.999, 1e-08f, 0.0f, 0.0f, false},
       0.01f,
       -0.302334338f,
       {-2.79078579f, -2.03855991f, 0.399288476f, 5.87166542e-05f, 0.337615162f, 1.09869552f, -0.98054415f, 17.9912872f, -0.370141119f,
        1.00638092f},
       -0.272993505f},
      {{"adam_l2", Optimizer::adam, 0.8, 0.99, 1e-06f, 0.05f, 0.0f, false},
       0.01f,
       -1.19050229f,
       {-1.74796677f, -0.836570263f, -0.673810065f, -2.06710183e-06f, -1.22470951f, 0.682393551f, -1.54216027f, -42.1216087f, 0.615479529f,
        -1.06106842f},
       -1.11912906f},
      {{"sgd", Optimizer::sgd, 0, 0, 0.0f, 0.0f, 0.0f, false},
       0.1f,
       1.93890452f,
       {0.220580384f, -0.898266494f, -0.831021786f, -3.76375974e-05f, 0.747075737f, 1.26228976f, 0.484724194f, -14.4467239f, 1.38242686f,
        -0.99203223f},
       3.24600315f},
      {{"sgd_momentum", Optimizer::sgd, 0.9, 0, 0.0f, 0.01f, 0.0f, false},
       0.05f,
       0.61605072f,
       {-0.523469687f, -0.35879612f, -0.782553315f, -3.51101553e-05f, 0.0421779938f, 0.201460138f, 1.00982189f, 47.2525787f, -1.50461292f,
        0.96694231f},
       -5.42495155f},
      {{"sgd_nesterov", Optimizer::sgd, 0.9, 0, 0.0f, 0.0f, 0.0f, true},
       0.05f,
       1.20593691f,
       {0.00141496526f, -3.0935154f, -0.213678211f, -8.48289274e-05f, -0.872253358f, -0.545474112f, -0.246892989f, 43.0756226f,
        0.795008004f, -0.466645271f},
       -4.78601122f},
      {{"sgd_dampening", Optimizer::sgd, 0.9, 0, 0.0f, 0.0f, 0.1f, false},
       0.05f,
       -1.73491979f,
       {0.417706162f, -0.722638905f, 2.13171506f, 0.000113730654f, 1.2927736f, 2.04399514f, 0.467274547f, -12.0878572f, -0.984237671f,
        0.0135145746f},
       -1.38201499f},
      {{"lion", Optimizer::lion, 0.9, 0.99, 0.0f, 0.1f, 0.0f, false},
       0.001f,
       0.777052462f,
       {1.12923312f, 0.52295953f, -0.226932243f, 5.99550767e-05f, 0.899191618f, -0.967947125f, 0.699125707f, -38.1804123f, -1.1991365f,
        1.65182805f},
       0.776277483f},
  };
  for (const Golden& c : cases) {
    Floats p(1), g(1), m(1), v(1);
    p[0] = c.p0;
    m[0] = v[0] = 0;
    StepState state = fresh();
    for (const float gradient : c.g) {
      g[0] = gradient;
      state.next_lr = c.lr;
      k.step_begin.run({&state, false});
      k.optimizer.run({c.set.kind, p.data(), m.data(), v.data(), g.data(), nullptr, DType::f32, 1, 1, &state, c.set.beta1, c.set.beta2,
                       c.set.eps, c.set.weight_decay, c.set.dampening, c.set.nesterov});
    }
    CHECK_MSG(std::fabs(p[0] - c.p) <= 1e-6f * std::fabs(c.p), "%s: %.9g, not %.9g", c.set.name, number(p[0]), number(c.p));
  }
}

void test_muon(const Backend& k, Rng& rng) {
  for (const int64_t n : {1, 63, 20011})
    for (const bool nesterov : {false, true}) {
      Floats g(n), m(n), x(n), p(n);
      g.normal(rng);
      m.normal(rng);
      p.normal(rng);
      StepState state = fresh();
      state.lr = 0.02f;
      state.clip = 0.25f;
      state.loss_scale = 2;
      const double beta = 0.95, ratio = 1.5, decay = 0.1;
      std::vector<double> m_ref, x_ref, p_ref;
      for (int64_t i = 0; i < n; ++i) {
        const double step = number(g[i]) / 8;
        m_ref.push_back(beta * number(m[i]) + (1 - beta) * step);
        x_ref.push_back(nesterov ? (1 - beta) * step + beta * m_ref.back() : m_ref.back());
        p_ref.push_back(number(p[i]) * (1 - number(state.lr) * decay) - number(state.lr) * ratio * x_ref.back());
      }
      Floats m0(n), p0(n);
      m0.copy(m);
      p0.copy(p);
      same_for_threads(x, "muon_momentum", [&] {
        m.copy(m0);
        k.muon_momentum.run({g.data(), m.data(), x.data(), n, &state, beta, nesterov});
      });
      same_for_threads(p, "muon_apply", [&] {
        p.copy(p0);
        k.muon_apply.run({p.data(), x.data(), nullptr, DType::f32, n, &state, 0.1f, 1.5f});
      });
      CHECK_CLOSE(m, m_ref, 5e-7, "muon n=%d", static_cast<int>(n));
      CHECK_CLOSE(x, x_ref, 5e-7, "muon n=%d", static_cast<int>(n));
      CHECK_CLOSE(p, p_ref, 5e-7, "muon n=%d", static_cast<int>(n));
      m0.copy(m);
      p0.copy(p);
      state.skip = 1;
      g.fill(kInf);
      k.muon_momentum.run({g.data(), m.data(), x.data(), n, &state, beta, nesterov});
      k.muon_apply.run({p.data(), x.data(), nullptr, DType::f32, n, &state, 0.1f, 1.5f});
      CHECK(m.same_bits(m0) && p.same_bits(p0));
      for (const float v : x) CHECK(v == 0);  // finite for the Newton-Schulz steps
    }
}

// The copy that kernels compute with is p, rounded; a step that is skipped leaves it.
void test_copies(const Backend& k, Rng& rng) {
  constexpr int64_t n = 20011;  // two pieces and a ragged end
  for (const DType type : {DType::bf16, DType::f16}) {
    Floats p(n), m(n), v(n), g(n);
    Buffer<uint16_t> copy(n), expected(n);
    g.normal(rng);
    StepState state = fresh();
    state.lr = 0.01f;
    state.updates = 1;
    const auto check = [&](const char* name, auto&& step) {
      p.normal(rng);
      m.fill(0.1f);
      v.fill(0.1f);
      copy.fill(0x1234);
      state.skip = 1;
      step();
      bool untouched = true;
      for (const uint16_t bits : copy) untouched = untouched && bits == 0x1234;
      CHECK_MSG(untouched, "%s writes the copy though the step is skipped", name);
      state.skip = 0;
      step();
      k.copy.run({view(p.data(), DType::f32, {n}, {1}), view(expected.data(), type, {n}, {1})});
      CHECK_MSG(copy.same_bits(expected) && copy.guarded(), "%s: the copy is not p, rounded", name);
    };
    for (const Optimizer kind : {Optimizer::adamw, Optimizer::adam, Optimizer::sgd, Optimizer::lion})
      check("optimizer", [&] {
        k.optimizer.run(
            {kind, p.data(), m.data(), v.data(), g.data(), copy.data(), type, n, 15000, &state, 0.9, 0.99, 1e-8f, 0.1f, 0, false});
      });
    check("muon_apply", [&] { k.muon_apply.run({p.data(), g.data(), copy.data(), type, n, &state, 0.1f, 1.5f}); });
  }
}

// What is kept in bf16: one of the two neighbours of what f32 gives, drawn by element and step alone, on average that; what is skipped
// stays.
void test_bf16(const Backend& k, Rng& rng) {
  const auto widened = [](uint16_t h) {
    const uint32_t bits = uint32_t{h} << 16;
    float x;
    std::memcpy(&x, &bits, 4);
    return x;
  };
  for (const int64_t n : {1, 63, 64, 65, 20011}) {
    const auto size = static_cast<size_t>(n);
    Floats g(n), p32(n), m32(n), v32(n), all(3 * n);
    g.normal(rng, 1);
    std::vector<uint16_t> p(size), m(size), v(size), p0(size), m0(size), v0(size);
    for (size_t i = 0; i < size; ++i) {
      const auto at = static_cast<int64_t>(i);
      p0[i] = static_cast<uint16_t>(0x3f80u + rng.below(128));  // 1 to 2
      m0[i] = static_cast<uint16_t>(0x3d00u + rng.below(256));
      v0[i] = static_cast<uint16_t>(0x3d00u + rng.below(256));
      p32[at] = widened(p0[i]);
      m32[at] = widened(m0[i]);
      v32[at] = widened(v0[i]);
    }
    StepState state = fresh();
    state.updates = 7;
    state.lr = 1e-4f;
    OptimizerArgs args{Optimizer::adamw, p32.data(), m32.data(), v32.data(), g.data(), nullptr, DType::f32, n, n / 2,
                       &state,           0.9,        0.999,      1e-8f,      0.1f,     0,       false};
    k.optimizer.run(args);
    args.p = p.data();
    args.m = m.data();
    args.v = v.data();
    args.p_type = args.moment_type = DType::bf16;
    args.seed_low = 11;
    const auto run = [&] {
      p = p0;
      m = m0;
      v = v0;
      k.optimizer.run(args);
      for (size_t i = 0; i < size; ++i) {
        const auto at = static_cast<int64_t>(i);
        all[at] = widened(p[i]);
        all[n + at] = widened(m[i]);
        all[2 * n + at] = widened(v[i]);
      }
    };
    same_for_threads(all, "bf16", run);
    double bias[3] = {}, unit[3] = {};
    for (int part = 0; part < 3; ++part)
      for (int64_t i = 0; i < n; ++i) {
        const float exact = (part == 0 ? p32 : part == 1 ? m32 : v32)[i], got = all[part * n + i];
        const double step = std::ldexp(1, std::ilogb(exact) - 7), off = number(got) - number(exact);
        CHECK_MSG(std::fabs(off) < step, "part %d, element %d: %.9g, not %.9g", part, static_cast<int>(i), number(got), number(exact));
        bias[part] += off / step;
        unit[part] += 1;
      }
    // A rounding's variance is at most 1/4 of a unit squared: six deviations of the mean.
    for (int part = 0; part < 3; ++part) CHECK(std::fabs(bias[part] / unit[part]) < 3 / std::sqrt(static_cast<double>(n)));
    const std::vector<uint16_t> first = m;
    state.updates = 8;
    run();
    CHECK(n < 63 || m != first);  // another step draws other bits
    state.updates = 7;
    run();
    CHECK(m == first);
    state.skip = 1;
    run();
    CHECK(p == p0 && m == m0 && v == v0);
  }
}

void test_grad_norm(const Backend& k, Rng& rng) {
  for (const int64_t n : {0, 1, 15, 16, 17, 1000, 65536, 200001})
    for (const double size : {1e-20, 1.0, 1e25}) {  // squares that leave f32
      Floats g(n);
      g.normal(rng, size);
      double sum = 0;
      for (const float x : g) sum += number(x) * number(x);
      StepState state = fresh();
      state.loss_scale = 4;
      state.skip = 1;  // from an earlier step
      const double norm = std::sqrt(sum) / 4;
      for (const float max_norm : {0.0f, 1.0f, 1e3f}) {
        k.grad_norm.run({g.data(), n, &state, max_norm, nullptr});
        const double clip = max_norm > 0 ? std::fmin(1, number(max_norm) / (norm + 1e-6)) : 1;
        CHECK_MSG(std::fabs(number(state.grad_norm) - norm) <= 1e-7 * norm, "norm %.9g, not %.9g", number(state.grad_norm), norm);
        CHECK_MSG(std::fabs(number(state.clip) - clip) <= 1e-7 * clip && state.skip == 0, "clip %.9g, not %.9g", number(state.clip), clip);
      }
      Floats norms(2);
      same_for_threads(norms, "grad_norm", [&] {
        k.grad_norm.run({g.data(), n, &state, 1, nullptr});
        norms[0] = state.grad_norm;
        norms[1] = state.clip;
      });
      if (n == 0) continue;
      for (const float bad : {kInf, -kInf, std::numeric_limits<float>::quiet_NaN()}) {
        const int64_t at = rng.below(n);
        const float good = g[at];
        g[at] = bad;
        k.grad_norm.run({g.data(), n, &state, 1, nullptr});
        CHECK(state.skip == 1);
        const int32_t updates = state.updates;
        state.next_lr = 0.1f;
        k.step_begin.run({&state, true});
        CHECK(state.updates == updates && state.lr == 0.1f && state.skip == 1);
        g[at] = good;
        k.grad_norm.run({g.data(), n, &state, 1, nullptr});
        CHECK(state.skip == 0);
        const float clip = state.clip;
        state.next_lr = 0.2f;
        k.step_begin.run({&state, true});
        CHECK(state.updates == updates + 1 && state.lr == 0.2f && state.clip == clip);
        k.step_begin.run({&state, false});
        CHECK(state.clip == 1 && state.skip == 0 && state.updates == updates + 2);
      }
    }
}

}  // namespace

int main() {
  const Backend& k = backend();
  Rng rng(5);
  test_optimizers(k, rng);
  test_golden(k);
  test_muon(k, rng);
  test_copies(k, rng);
  test_bf16(k, rng);
  test_grad_norm(k, rng);
  return result();
}
