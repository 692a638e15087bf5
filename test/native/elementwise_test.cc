// unary, unary_backward, binary, where, swiglu against double references.
#include "views.h"

using namespace heddle;
using namespace check;

namespace {

constexpr double kPi = 3.14159265358979323846;
constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }
double bell(double x) { return std::exp(-x * x / 2) / std::sqrt(2 * kPi); }
double cumulative(double x) { return 0.5 * std::erfc(-x / std::sqrt(2.0)); }
double inner(double x) { return std::sqrt(2 / kPi) * (x + 0.044715 * x * x * x); }
double zero_if_small(double x, double y) { return x > 0 ? y : 0; }

struct Function {
  Unary kind;
  const char* name;
  bool positive;  // defined for x > 0 only
  double (*f)(double x);
  double (*derivative)(double x);
};

const Function kFunctions[] = {
    {Unary::neg, "neg", false, [](double x) { return -x; }, [](double) { return -1.0; }},
    {Unary::abs, "abs", false, [](double x) { return std::fabs(x); }, [](double x) { return double(x > 0) - double(x < 0); }},
    {Unary::sign, "sign", false, [](double x) { return double(x > 0) - double(x < 0); }, [](double) { return 0.0; }},
    {Unary::square, "square", false, [](double x) { return x * x; }, [](double x) { return 2 * x; }},
    {Unary::sqrt, "sqrt", true, [](double x) { return std::sqrt(x); }, [](double x) { return 0.5 / std::sqrt(x); }},
    {Unary::rsqrt, "rsqrt", true, [](double x) { return 1 / std::sqrt(x); }, [](double x) { return -0.5 / (x * std::sqrt(x)); }},
    {Unary::reciprocal, "reciprocal", true, [](double x) { return 1 / x; }, [](double x) { return -1 / (x * x); }},
    {Unary::exp, "exp", false, [](double x) { return std::exp(x); }, [](double x) { return std::exp(x); }},
    {Unary::log, "log", true, [](double x) { return std::log(x); }, [](double x) { return 1 / x; }},
    {Unary::sin, "sin", false, [](double x) { return std::sin(x); }, [](double x) { return std::cos(x); }},
    {Unary::cos, "cos", false, [](double x) { return std::cos(x); }, [](double x) { return -std::sin(x); }},
    {Unary::tanh, "tanh", false, [](double x) { return std::tanh(x); }, [](double x) { return 1 / (std::cosh(x) * std::cosh(x)); }},
    {Unary::sigmoid, "sigmoid", false, [](double x) { return sigmoid(x); }, [](double x) { return sigmoid(x) * sigmoid(-x); }},
    {Unary::relu, "relu", false, [](double x) { return zero_if_small(x, x); }, [](double x) { return zero_if_small(x, 1); }},
    {Unary::relu2, "relu2", false, [](double x) { return zero_if_small(x, x * x); }, [](double x) { return zero_if_small(x, 2 * x); }},
    {Unary::silu, "silu", false, [](double x) { return x * sigmoid(x); }, [](double x) { return sigmoid(x) * (1 + x * sigmoid(-x)); }},
    {Unary::gelu_tanh, "gelu_tanh", false, [](double x) { return x * sigmoid(2 * inner(x)); },
     [](double x) {
       const double s = sigmoid(2 * inner(x)), rest = sigmoid(-2 * inner(x));
       return s + 2 * x * s * rest * std::sqrt(2 / kPi) * (1 + 3 * 0.044715 * x * x);
     }},
    {Unary::gelu_erf, "gelu_erf", false, [](double x) { return x * cumulative(x); }, [](double x) { return cumulative(x) + x * bell(x); }},
};

const float kEdges[] = {0.0f, -0.0f, 1e-45f, -1e-45f, 1e-30f, -1e-30f, 30, -30, 88, -88, 100, -100, 1e4f, -1e4f};

void test_unary(const Backend& k, Rng& rng) {
  for (const Function& fn : kFunctions)
    for (const int64_t n : {0, 1, 3, 4, 5, 8, 15, 16, 17, 33, 250, 20011}) {
      Floats x(n), y(n), dy(n), dx(n), before(n);
      x.normal(rng, 3);
      dy.normal(rng);
      before.normal(rng);
      const bool edges = !fn.positive && fn.kind != Unary::exp && fn.kind != Unary::square && fn.kind != Unary::relu2;
      for (int64_t i = 0; i < n; ++i) {
        if (fn.positive) x[i] = std::fabs(x[i]) + 0.1f;
        if (edges && n > 100 && i < 14) x[i] = kEdges[i];
      }
      std::vector<double> ref, grad, sum;
      for (int64_t i = 0; i < n; ++i) {
        ref.push_back(fn.f(static_cast<double>(x[i])));
        grad.push_back(static_cast<double>(dy[i]) * fn.derivative(static_cast<double>(x[i])));
        sum.push_back(static_cast<double>(before[i]) + grad.back());
      }
      const int length = static_cast<int>(n);
      same_for_threads(y, fn.name, [&] { k.unary.run({fn.kind, DType::f32, x.data(), y.data(), n}); });
      CHECK_CLOSE(y, ref, 5e-7, "%s n=%d", fn.name, length);
      same_for_threads(dx, fn.name, [&] { k.unary_backward.run({fn.kind, DType::f32, x.data(), dy.data(), dx.data(), n, false}); });
      CHECK_CLOSE(dx, grad, 5e-7, "%s backward n=%d", fn.name, length);
      k.unary_backward.run({fn.kind, DType::f32, x.data(), dy.data(), before.data(), n, true});
      CHECK_CLOSE(before, sum, 5e-7, "%s backward, accumulate n=%d", fn.name, length);
      k.unary.run({fn.kind, DType::f32, x.data(), x.data(), n});
      CHECK(x.same_bits(y));
    }
}

// Accuracy element by element, where a scaled error would hide it.
void test_ulps(const Backend& k, Rng& rng) {
  constexpr int64_t n = 20000;
  Floats x(n), y(n);
  struct Case {
    Unary kind;
    const char* name;
    double (*f)(double);
    double low, high, ulps;
  };
  const Case cases[] = {
      {Unary::tanh, "tanh", [](double v) { return std::tanh(v); }, -12, 12, 2},
      {Unary::exp, "exp", [](double v) { return std::exp(v); }, -87, 88, 2},
      {Unary::log, "log", [](double v) { return std::log(v); }, 1e-3, 3, 1},
      {Unary::sigmoid, "sigmoid", [](double v) { return sigmoid(v); }, -80, 80, 3},
      {Unary::silu, "silu", [](double v) { return v * sigmoid(v); }, -80, 80, 4},
      {Unary::gelu_erf, "gelu_erf", [](double v) { return v * cumulative(v); }, -1, 10, 8},
  };
  for (const Case& c : cases) {
    for (float& v : x) v = static_cast<float>(rng.uniform(c.low, c.high));
    if (c.kind == Unary::tanh)
      for (int64_t i = 0; i < n; i += 2) x[i] = static_cast<float>(std::exp(rng.uniform(-80, 2)));  // near 0
    k.unary.run({c.kind, DType::f32, x.data(), y.data(), n});
    double worst = 0;
    for (int64_t i = 0; i < n; ++i) {
      const double ref = c.f(static_cast<double>(x[i]));
      const double ulp = std::ldexp(1.0, std::ilogb(ref) - 23), error = std::fabs(static_cast<double>(y[i]) - ref) / ulp;
      worst = error <= worst ? worst : error;  // NaN sticks
    }
    CHECK_MSG(worst <= c.ulps, "%s: %.2f ulp", c.name, worst);
  }
}

void test_special_values(const Backend& k) {
  for (const Function& fn : kFunctions) {
    Floats x(1), y(1), dy(1), dx(1);
    x[0] = kNaN;
    dy[0] = 1;
    k.unary.run({fn.kind, DType::f32, x.data(), y.data(), 1});
    CHECK_MSG(std::isnan(y[0]), "%s(NaN) must be NaN, got %g", fn.name, static_cast<double>(y[0]));
    for (const float big : {1e4f, -1e4f, 1e20f, -1e20f, 3e38f, -3e38f}) {
      const bool bounded = fn.kind >= Unary::tanh && fn.kind != Unary::relu2;
      if (!bounded) continue;
      x[0] = big;
      k.unary.run({fn.kind, DType::f32, x.data(), y.data(), 1});
      k.unary_backward.run({fn.kind, DType::f32, x.data(), dy.data(), dx.data(), 1, false});
      CHECK_MSG(std::isfinite(y[0]) && std::isfinite(dx[0]), "%s(%g) must be finite", fn.name, static_cast<double>(big));
    }
  }
  struct Case {
    Unary kind;
    float x, y;
  };
  const Case cases[] = {{Unary::log, 0, -kInf},
                        {Unary::log, -0.0f, -kInf},
                        {Unary::log, -1, kNaN},
                        {Unary::log, kInf, kInf},
                        {Unary::exp, -kInf, 0},
                        {Unary::exp, kInf, kInf},
                        {Unary::exp, 0, 1},
                        {Unary::log, 1, 0},
                        {Unary::tanh, kInf, 1},
                        {Unary::tanh, -kInf, -1},
                        {Unary::sigmoid, kInf, 1},
                        {Unary::sigmoid, -kInf, 0},
                        {Unary::silu, kInf, kInf},
                        {Unary::gelu_erf, kInf, kInf},
                        {Unary::gelu_tanh, kInf, kInf},
                        {Unary::sqrt, -1, kNaN},
                        {Unary::rsqrt, 0, kInf},
                        {Unary::relu, -kInf, 0},
                        {Unary::sqrt, 0, 0},
                        {Unary::tanh, 0, 0}};
  for (const Case& c : cases) {
    Floats x(1), y(1);
    x[0] = c.x;
    k.unary.run({c.kind, DType::f32, x.data(), y.data(), 1});
    CHECK_MSG(std::isnan(c.y) ? std::isnan(y[0]) : y[0] == c.y, "unary %d of %g: got %g", static_cast<int>(c.kind),
              static_cast<double>(c.x), static_cast<double>(y[0]));
  }
}

double apply(Binary kind, double a, double b) {
  switch (kind) {
    case Binary::add:
      return a + b;
    case Binary::sub:
      return a - b;
    case Binary::mul:
      return a * b;
    case Binary::div:
      return a / b;
    case Binary::maximum:
      return a > b ? a : b;
    case Binary::minimum:
      return a < b ? a : b;
    case Binary::pow:
      return std::pow(a, b);
    case Binary::eq:
      return a == b;
    case Binary::ne:
      return a != b;
    case Binary::lt:
      return a < b;
    case Binary::le:
      return a <= b;
    case Binary::gt:
      return a > b;
    case Binary::ge:
      return a >= b;
  }
  return 0;
}

constexpr int kBinaries = 13;
bool compares(Binary kind) { return kind >= Binary::eq; }

// Shapes and strides of a and b: whatever broadcasts, and the cases with a path of their own.
struct Pair {
  Shape shape, a, b;
};
std::vector<Pair> pairs(Rng& rng) {
  std::vector<Pair> list = {{{}, {}, {}},
                            {{0, 3}, {3, 1}, {3, 1}},
                            {{37}, {1}, {1}},
                            {{37}, {1}, {0}},
                            {{37}, {0}, {1}},
                            {{37}, {0}, {0}},
                            {{5, 67}, {67, 1}, {0, 1}},
                            {{5, 67}, {67, 1}, {1, 0}},
                            {{300, 2}, {2, 1}, {0, 1}},
                            {{3, 70, 90}, {6300, 90, 1}, {0, 1, 70}},
                            {{2, 17000}, {17000, 1}, {0, 1}}};
  for (int i = 0; i < 25; ++i) {
    const Shape shape = random_shape(rng);
    list.push_back({shape, random_strides(rng, shape, true), random_strides(rng, shape, true)});
  }
  return list;
}

template <class T>
void test_binary(const Backend& k, Rng& rng) {
  constexpr bool f32 = std::is_same_v<T, float>;
  const DType type = f32 ? DType::f32 : DType::i32;
  for (const Pair& p : pairs(rng)) {
    const int64_t n = elements(p.shape);
    Buffer<T> a(extent(p.shape, p.a)), b(extent(p.shape, p.b)), out(n);
    Buffer<uint8_t> flags(n);
    for (int kind = 0; kind < kBinaries; ++kind) {
      const auto op = static_cast<Binary>(kind);
      for (T& x : a)
        x = f32 && op != Binary::pow ? static_cast<T>(rng.normal()) : static_cast<T>(rng.below(9) + (op == Binary::pow ? 1 : -4));
      for (T& x : b) x = f32 && !compares(op) ? static_cast<T>(rng.normal()) : static_cast<T>(rng.below(5) + 1);
      std::vector<double> ref;
      for (int64_t i = 0; i < n; ++i) {
        const double y = apply(op, static_cast<double>(a[offset(p.shape, p.a, i)]), static_cast<double>(b[offset(p.shape, p.b, i)]));
        ref.push_back(!f32 && op == Binary::div ? std::trunc(y) : y);
      }
      const View va = view(a.data(), type, p.shape, p.a), vb = view(b.data(), type, p.shape, p.b);
      const Shape dense = dense_strides(p.shape);
      if (compares(op)) {
        const BinaryArgs args{op, va, vb, view(flags.data(), DType::boolean, p.shape, dense), false};
        same_for_threads(flags, "binary", [&] { k.binary.run(args); });
        for (int64_t i = 0; i < n; ++i) CHECK(flags[i] == (ref[static_cast<size_t>(i)] != 0));
        CHECK(flags.guarded());
        continue;
      }
      const BinaryArgs args{op, va, vb, view(out.data(), type, p.shape, dense), false};
      same_for_threads(out, "binary", [&] { k.binary.run(args); });
      if constexpr (f32) {
        CHECK_CLOSE(out, ref, 1e-6, "binary %d", kind);
        Floats sum(n);
        sum.normal(rng);
        std::vector<double> expected;
        for (int64_t i = 0; i < n; ++i) expected.push_back(static_cast<double>(sum[i]) + static_cast<double>(out[i]));
        k.binary.run({op, va, vb, view(sum.data(), type, p.shape, dense), true});
        CHECK_CLOSE(sum, expected, 1e-6, "binary %d, accumulate", kind);
      } else {
        for (int64_t i = 0; i < n; ++i) CHECK(static_cast<double>(out[i]) == ref[static_cast<size_t>(i)]);
        CHECK(out.guarded());
      }
      bool whole = true;  // a is no broadcast: the result may replace it
      for (size_t d = 0; d < p.shape.size(); ++d) whole = whole && (p.a[d] != 0 || p.shape[d] == 1);
      if (whole) {
        k.binary.run({op, va, vb, va, false});
        bool same = true;
        for (int64_t i = 0; i < n; ++i) same = same && a[offset(p.shape, p.a, i)] == out[i];
        CHECK_MSG(same, "binary %d in place", kind);
        CHECK(a.guarded());
      }
    }
  }
}

void test_binary_edges(const Backend& k) {
  const auto f32 = [&](Binary op, float x, float y) {
    Floats a(1), b(1), out(1);
    a[0] = x;
    b[0] = y;
    k.binary.run({op, view(a.data(), DType::f32, {}, {}), view(b.data(), DType::f32, {}, {}), view(out.data(), DType::f32, {}, {}), false});
    return out[0];
  };
  CHECK(std::isnan(f32(Binary::maximum, kNaN, 1)) && std::isnan(f32(Binary::maximum, 1, kNaN)));
  CHECK(std::isnan(f32(Binary::minimum, kNaN, 1)) && std::isnan(f32(Binary::minimum, 1, kNaN)));
  CHECK(f32(Binary::div, 1, 0) == kInf && f32(Binary::pow, 2, 10) == 1024 && f32(Binary::pow, 0, 0) == 1);
  const auto i32 = [&](Binary op, int32_t x, int32_t y) {
    Ints a(1), b(1), out(1);
    a[0] = x;
    b[0] = y;
    k.binary.run({op, view(a.data(), DType::i32, {}, {}), view(b.data(), DType::i32, {}, {}), view(out.data(), DType::i32, {}, {}), false});
    return out[0];
  };
  CHECK(i32(Binary::div, -7, 2) == -3 && i32(Binary::div, INT32_MIN, -1) == INT32_MIN);
  CHECK(i32(Binary::add, INT32_MAX, 1) == INT32_MIN && i32(Binary::mul, 1 << 20, 1 << 20) == 0);
  CHECK(i32(Binary::pow, -3, 3) == -27 && i32(Binary::pow, 5, 0) == 1);
  CHECK(error_of([&] { i32(Binary::div, 3, 0); }) == "div: b must be nonzero for i32, got 0");
  CHECK(error_of([&] { i32(Binary::pow, 3, -2); }) == "pow: b must be at least 0 for i32, got -2");
}

void test_where(const Backend& k, Rng& rng) {
  for (int round = 0; round < 60; ++round) {
    const Shape shape = round == 0 ? Shape{40000} : random_shape(rng);
    const bool strided = round % 3 != 0;
    const auto strides = [&] { return strided ? random_strides(rng, shape, true) : dense_strides(shape); };
    const Shape sc = strides(), sa = round % 6 == 3 ? Shape(shape.size(), 0) : strides(), sb = strides();
    const Shape so = round % 2 ? random_strides(rng, shape) : dense_strides(shape);
    Floats a(extent(shape, sa)), b(extent(shape, sb)), out(extent(shape, so));
    a.normal(rng);
    b.normal(rng);
    Buffer<uint8_t> condition(extent(shape, sc));
    for (uint8_t& c : condition) c = rng.below(2) ? static_cast<uint8_t>(1 + rng.below(255)) : 0;
    same_for_threads(out, "where", [&] {
      k.where.run({view(condition.data(), DType::u8, shape, sc), view(a.data(), DType::f32, shape, sa),
                   view(b.data(), DType::f32, shape, sb), view(out.data(), DType::f32, shape, so)});
    });
    bool right = true;
    for (int64_t i = 0; i < elements(shape); ++i)
      right = right && out[offset(shape, so, i)] == (condition[offset(shape, sc, i)] ? a[offset(shape, sa, i)] : b[offset(shape, sb, i)]);
    CHECK(right);
    CHECK(out.guarded());
  }
}

void test_swiglu(const Backend& k, Rng& rng) {
  for (const auto& [rows, cols] :
       std::vector<std::pair<int64_t, int64_t>>{{0, 5}, {1, 1}, {3, 7}, {4, 172}, {2, 16}, {300, 33}, {2, 9001}}) {
    const int64_t n = rows * cols, both = rows * (2 * cols + 3);  // gate and up as halves of one array, rows apart
    Floats x(both), y(n), dy(n), dx(both), sum(both);
    x.normal(rng, 4);
    dy.normal(rng);
    sum.fill(0.5f);
    if (n > 20) {
      x[0] = 1e4f;
      x[1] = -1e4f;
    }
    const int64_t stride = 2 * cols + 3;
    std::vector<double> ref, gate_ref, up_ref;
    for (int64_t r = 0; r < rows; ++r)
      for (int64_t c = 0; c < cols; ++c) {
        const double g = static_cast<double>(x[r * stride + c]), u = static_cast<double>(x[r * stride + cols + c]);
        const double d = static_cast<double>(dy[r * cols + c]), s = sigmoid(g);
        ref.push_back(g * s * u);
        gate_ref.push_back(d * u * s * (1 + g * sigmoid(-g)));
        up_ref.push_back(d * g * s);
      }
    same_for_threads(y, "swiglu", [&] { k.swiglu.run({DType::f32, x.data(), x.data() + cols, y.data(), rows, cols, stride, stride}); });
    CHECK_CLOSE(y, ref, 1e-6, "swiglu %dx%d", static_cast<int>(rows), static_cast<int>(cols));
    const auto backward = [&](Floats& out, bool accumulate) {
      k.swiglu_backward.run({DType::f32, x.data(), x.data() + cols, dy.data(), out.data(), out.data() + cols, rows, cols, stride, stride,
                             stride, stride, accumulate});
    };
    same_for_threads(dx, "swiglu backward", [&] { backward(dx, false); });
    backward(sum, true);
    Floats dgate(n), dup(n), gate_sum(n), up_sum(n);
    for (int64_t i = 0; i < n; ++i) {
      const int64_t at = i / cols * stride + i % cols;
      dgate[i] = dx[at];
      dup[i] = dx[at + cols];
      gate_sum[i] = sum[at] - 0.5f;
      up_sum[i] = sum[at + cols] - 0.5f;
    }
    CHECK_CLOSE(dgate, gate_ref, 1e-6, "swiglu backward");
    CHECK_CLOSE(dup, up_ref, 1e-6, "swiglu backward");
    CHECK_CLOSE(gate_sum, gate_ref, 2e-6, "swiglu backward, accumulate");
    CHECK_CLOSE(up_sum, up_ref, 2e-6, "swiglu backward, accumulate");
    CHECK(dx.guarded() && sum.guarded());
    for (int64_t r = 0; r < rows; ++r)
      for (int64_t c = 2 * cols; c < stride; ++c) CHECK(std::isnan(dx[r * stride + c]));  // between the rows
  }
}

}  // namespace

int main() {
  const Backend& k = backend();
  Rng rng(1);
  test_unary(k, rng);
  test_ulps(k, rng);
  test_special_values(k);
  test_binary<float>(k, rng);
  test_binary<int32_t>(k, rng);
  test_binary_edges(k);
  test_where(k, rng);
  test_swiglu(k, rng);
  return result();
}
