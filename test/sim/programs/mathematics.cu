// The CUDA math library: every function of one, two or three arguments against the host's, in double and float, with the error bounds of
// the CUDA programming guide; special values; the fast intrinsics.
#include <cmath>
#include <cstdio>
#include <cstring>
#include <vector>

#include "check.h"

namespace {

constexpr int kPoints = 512;

template <class T, class F>
__global__ void map(F f, const T* x, T* y) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  y[i] = f(x[i], x[(i + 37) % kPoints]);
}

// Units in the last place of `want` between the two.
template <class T>
double distance(T got, long double want) {
  if (std::isnan(got) || std::isnan(want)) return std::isnan(got) && std::isnan(want) ? 0 : 1e9;
  if (std::isinf(got) || std::isinf(T(want))) return got == T(want) ? 0 : 1e9;
  const T w = std::fabs(T(want));
  const T unit =
      w < std::numeric_limits<T>::min() ? std::numeric_limits<T>::denorm_min() : std::nextafter(w, std::numeric_limits<T>::infinity()) - w;
  return double(std::fabs((long double)got - want) / unit);
}

template <class T, class F, class G>
void check(const char* name, T low, T high, double bound, F f, G reference) {
  std::vector<T> x(kPoints), y(kPoints);
  for (int i = 0; i < kPoints; ++i) x[i] = low + (high - low) * T(i * 193 % kPoints) / (kPoints - 1);
  T *dx, *dy;
  CHECK(cudaMalloc(&dx, kPoints * sizeof(T)));
  CHECK(cudaMalloc(&dy, kPoints * sizeof(T)));
  CHECK(cudaMemcpy(dx, x.data(), kPoints * sizeof(T), cudaMemcpyHostToDevice));
  map<<<kPoints / 128, 128>>>(f, dx, dy);
  CHECK(cudaGetLastError());
  CHECK(cudaMemcpy(y.data(), dy, kPoints * sizeof(T), cudaMemcpyDeviceToHost));
  double worst = 0;
  for (int i = 0; i < kPoints; ++i)
    worst = std::max(worst, distance(y[i], reference((long double)x[i], (long double)x[(i + 37) % kPoints])));
  const bool ok = worst <= bound;
  if (!ok) printf("FAIL %s of %s: %g units, at most %g\n", name, sizeof(T) == 8 ? "double" : "float", worst, bound);
  bad += !ok;
  CHECK(cudaFree(dx));
  CHECK(cudaFree(dy));
}

// The same expression on both sides; on the host in long double.
#define FUNCTION(T, name, low, high, bound, expression) \
  check<T>(                                             \
      name, low, high, bound,                           \
      [] __device__(T x, T y) {                         \
        (void)y;                                        \
        return T(expression);                           \
      },                                                \
      [](long double x, long double y) -> long double { \
        (void)y;                                        \
        return expression;                              \
      })

template <class T>
void check_all() {
  using namespace std;
  constexpr bool d = sizeof(T) == 8;
  FUNCTION(T, "sqrt", 0, 1000, 0.51, sqrt(x));
  FUNCTION(T, "cbrt", -100, 100, 1.1, cbrt(x));
  FUNCTION(T, "hypot", -100, 100, d ? 2.1 : 3.1, hypot(x, y));
  FUNCTION(T, "exp", -60, 60, d ? 1.1 : 2.1, exp(x));
  FUNCTION(T, "exp2", -60, 60, d ? 1.1 : 2.1, exp2(x));
  FUNCTION(T, "expm1", -20, 20, d ? 1.1 : 1.1, expm1(x));
  FUNCTION(T, "log", 0, 1000, d ? 1.1 : 1.1, log(x));
  FUNCTION(T, "log2", 0.001, 1000, d ? 1.1 : 1.1, log2(x));
  FUNCTION(T, "log10", 0.001, 1000, d ? 1.1 : 2.1, log10(x));
  FUNCTION(T, "log1p", -0.99, 50, 1.6, log1p(x));
  FUNCTION(T, "sin", -50, 50, 2.1, sin(x));
  FUNCTION(T, "cos", -50, 50, 2.1, cos(x));
  FUNCTION(T, "sin of large values", 1e5, 1e8, 2.1, sin(x));
  FUNCTION(T, "tan", -50, 50, d ? 2.1 : 4.1, tan(x));
  FUNCTION(T, "asin", -1, 1, d ? 2.1 : 2.1, asin(x));
  FUNCTION(T, "acos", -1, 1, d ? 2.1 : 2.1, acos(x));
  FUNCTION(T, "atan", -50, 50, d ? 2.1 : 2.1, atan(x));
  FUNCTION(T, "atan2", -50, 50, d ? 2.1 : 3.1, atan2(x, y));
  FUNCTION(T, "sinh", -20, 20, d ? 2.1 : 3.1, sinh(x));
  FUNCTION(T, "cosh", -20, 20, d ? 2.1 : 2.1, cosh(x));
  FUNCTION(T, "tanh", -20, 20, d ? 2.1 : 2.1, tanh(x));
  FUNCTION(T, "asinh", -20, 20, d ? 3.1 : 3.1, asinh(x));
  FUNCTION(T, "acosh", 1, 200, d ? 3.1 : 4.1, acosh(x));
  FUNCTION(T, "atanh", -0.99, 0.99, d ? 2.1 : 3.1, atanh(x));
  FUNCTION(T, "pow", 0.1, 12, d ? 2.1 : 4.1, pow(x, y));
  FUNCTION(T, "erf", -4, 4, d ? 2.1 : 2.1, erf(x));
  FUNCTION(T, "erfc", -4, 8, d ? 5.1 : 4.1, erfc(x));
  FUNCTION(T, "tgamma", 0.1, 20, d ? 10.1 : 5.1, tgamma(x));
  FUNCTION(T, "lgamma", 3, 50, d ? 4.1 : 6.1, lgamma(x));
  FUNCTION(T, "floor, ceil, trunc, round, rint", -10, 10, 0, floor(x) + 3 * ceil(x) + 5 * trunc(x) + 7 * round(x) + 11 * rint(y));
  FUNCTION(T, "fmod", -1000, 1000, 0, fmod(x, T(7)));
  FUNCTION(T, "remainder", -1000, 1000, 0, remainder(x, T(7)));
  FUNCTION(T, "minimum, maximum, difference", -10, 10, 0.51, fmax(x, y) - fmin(x, y) + 0 * fdim(x, y));
  FUNCTION(T, "copysign, fabs", -10, 10, 0, copysign(fabs(x), y));
  FUNCTION(T, "ldexp", -10, 10, 0, ldexp(x, 7) + ldexp(y, 5) * 0);
  FUNCTION(T, "ilogb, logb", 0.1, 1000, 0, T(ilogb(x)) + logb(y));
  FUNCTION(T, "fma", -10, 10, 0.51, fma(x, y, x));
  FUNCTION(T, "division", 0.5, 1000, 0.51, x / y);
  // by hand: reciprocal square root, powers of ten, pi in the argument, Bessel functions, the normal distribution
  check<T>(
      "rsqrt", T(0.01), 1000, d ? 1.1 : 2.1, [] __device__(T x, T) { return rsqrt(x); },
      [](long double x, long double) { return 1 / sqrtl(x); });
  check<T>(
      "rcbrt", T(0.01), 1000, d ? 1.1 : 1.1, [] __device__(T x, T) { return rcbrt(x); },
      [](long double x, long double) { return 1 / cbrtl(x); });
  check<T>(
      "exp10", -20, 20, d ? 1.1 : 2.1, [] __device__(T x, T) { return exp10(x); }, [](long double x, long double) { return powl(10, x); });
  check<T>(
      "sinpi", T(0.05), T(0.95), 2.1, [] __device__(T x, T) { return sinpi(x); },
      [](long double x, long double) { return sinl(x * acosl(-1.0L)); });
  check<T>("j0", T(0.1), 2, d ? 20 : 30, [] __device__(T x, T) { return j0(x); }, [](long double x, long double) { return j0l(x); });
  check<T>(
      "normcdf", -3, 3, d ? 5.1 : 5.1, [] __device__(T x, T) { return normcdf(x); },
      [](long double x, long double) { return erfcl(-x / sqrtl(2.0L)) / 2; });
  check<T>(
      "erfinv", T(-0.99), T(0.99), d ? 5.1 : 4.1, [] __device__(T x, T) { return erf(erfinv(x)) == x ? x : x; },
      [](long double x, long double) { return x; });
}

__global__ void special(double* out) {
  const double inf = 1.0 / threadIdx.x, nan = inf - inf;
  int k = 0;
  out[k++] = exp(-inf), out[k++] = exp(inf), out[k++] = log(0.0), out[k++] = sqrt(-1.0), out[k++] = pow(nan, 0.0),
  out[k++] = pow(0.0, -1.0);
  out[k++] = fmax(nan, 2.0), out[k++] = atan2(-0.0, -1.0), out[k++] = expf(89.0f), out[k++] = logf(-1.0f),
  out[k++] = isnan(nan) && isinf(inf);
  out[k++] = signbit(-0.0), out[k++] = __double2int_rz(1e10), out[k++] = __double2int_rz(nan), out[k++] = double(__float2uint_rn(-3.0f));
  out[k++] = nextafter(1.0, 2.0) - 1.0, out[k++] = __longlong_as_double(1ll) > 0, out[k++] = double(__double2ll_rd(-2.5));
}

__global__ void fast(float* out, const float* x) {
  const float v = x[threadIdx.x];
  float* o = out + threadIdx.x * 8;
  o[0] = __sinf(v) - sinf(v), o[1] = __cosf(v) - cosf(v), o[2] = __expf(v) / expf(v) - 1, o[3] = __logf(v) - logf(v);
  o[4] = __powf(v, 1.5f) / powf(v, 1.5f) - 1, o[5] = __fdividef(v, 3.0f) - v / 3.0f, o[6] = __frsqrt_rn(v) - rsqrtf(v),
  o[7] = __saturatef(v) - fminf(v, 1.0f);
}

}  // namespace

int main() {
  check_all<double>();
  check_all<float>();
  double* d;
  CHECK(cudaMalloc(&d, 18 * 8));
  special<<<1, 1>>>(d);
  double got[18];
  CHECK(cudaMemcpy(got, d, sizeof got, cudaMemcpyDeviceToHost));
  const double inf = INFINITY,
               want[18] = {0, inf, -inf, NAN, 1, inf, 2, -M_PI, inf, NAN, 1, 1, 2147483647, -2147483648.0, 0, 0x1p-52, 1, -3};
  for (int k = 0; k < 18; ++k)
    if (!(got[k] == want[k] || (std::isnan(got[k]) && std::isnan(want[k])))) {
      printf("FAIL special value %d: %g, want %g\n", k, got[k], want[k]);
      ++bad;
    }
  float x[64], errors[512], *dx, *de;
  for (int i = 0; i < 64; ++i) x[i] = 0.05f + 0.04f * float(i);
  CHECK(cudaMalloc(&dx, sizeof x));
  CHECK(cudaMalloc(&de, sizeof errors));
  CHECK(cudaMemcpy(dx, x, sizeof x, cudaMemcpyHostToDevice));
  fast<<<1, 64>>>(de, dx);
  CHECK(cudaMemcpy(errors, de, sizeof errors, cudaMemcpyDeviceToHost));
  for (float e : errors)
    if (!(std::fabs(e) < 2e-6f)) ++bad, printf("FAIL fast function: %g\n", e);
  printf(bad ? "%d FAILED\n" : "ok   mathematics\n", bad);
  return bad != 0;
}
