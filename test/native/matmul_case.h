#pragma once
// A product's shape, layout and epilogue, its operands and what came out: what the tests of matmul share.
#include "check.h"
#include "ops/backend.h"

namespace check {

using heddle::Activation;
using heddle::MatmulArgs;

struct Case {
  int64_t M, N, K;
  bool a_transposed = false, b_transposed = false;  // a stored (K, M), b stored (N, K)
  int64_t batch[2] = {1, 1};
  bool a_shared[2] = {false, false}, b_shared[2] = {false, false};  // batch stride 0
  int64_t pad = 0;                                                  // a, b and c have rows this much longer than needed
  bool accumulate = false, bias = false, pre = false, residual = false;
  Activation activation = Activation::none;
  bool derivative = false;  // of the activation, in place of the epilogue
  bool bf16 = false;

  int64_t products() const { return batch[0] * batch[1]; }
  std::string name() const {
    return check::text("M=%ld N=%ld K=%ld a%s b%s batch %ldx%ld pad %ld ", long(M), long(N), long(K), a_transposed ? "^T" : "",
                       b_transposed ? "^T" : "", long(batch[0]), long(batch[1]), long(pad)) +
           check::text("accumulate %d bias %d pre %d residual %d activation %d derivative %d bf16 %d", accumulate, bias, pre, residual,
                       int(activation), derivative, bf16);
  }
};

// The operands of a case and what came out.
struct Run {
  MatmulArgs g{};
  int64_t a_matrix, b_matrix, c_matrix;
  Floats a, b, c, before, bias, pre, residual, at;

  Run(const Case& t, Rng& rng)
      : a_matrix((t.a_transposed ? t.K : t.M) * ((t.a_transposed ? t.M : t.K) + t.pad)),
        b_matrix((t.b_transposed ? t.N : t.K) * ((t.b_transposed ? t.K : t.N) + t.pad)),
        c_matrix(t.M * (t.N + t.pad)),
        a(a_matrix * t.products()),
        b(b_matrix * t.products()),
        c(c_matrix * t.products()),
        before(c.size()),
        bias(t.N),
        pre(t.products() * t.M * t.N),
        residual(pre.size()),
        at(pre.size()) {
    a.normal(rng);
    b.normal(rng);
    before.normal(rng);
    bias.normal(rng);
    residual.normal(rng);
    at.normal(rng);
    g.a = a.data(), g.b = b.data(), g.c = c.data();
    g.M = t.M, g.N = t.N, g.K = t.K;
    (t.a_transposed ? g.a_m : g.a_k) = 1;
    (t.a_transposed ? g.a_k : g.a_m) = (t.a_transposed ? t.M : t.K) + t.pad;
    (t.b_transposed ? g.b_k : g.b_n) = 1;
    (t.b_transposed ? g.b_n : g.b_k) = (t.b_transposed ? t.K : t.N) + t.pad;
    g.c_m = t.N + t.pad;
    for (int d = 0; d < 2; ++d) {
      const int64_t inner = d == 0 ? t.batch[1] : 1;
      g.batch[d] = t.batch[d];
      g.a_batch[d] = t.a_shared[d] ? 0 : inner * a_matrix;
      g.b_batch[d] = t.b_shared[d] ? 0 : inner * b_matrix;
      g.c_batch[d] = inner * c_matrix;
    }
    g.accumulate = t.accumulate;
    if (t.bias) g.bias = bias.data();
    if (t.pre) g.pre = pre.data();
    if (t.residual) g.residual = residual.data();
    g.activation = t.activation;
    if (t.derivative) g.derivative_at = at.data();
    if (t.bf16) g.precision = heddle::Precision::bf16;
  }
  void run() {
    c.poison();
    pre.poison();
    if (g.accumulate) c.copy(before);
    backend().matmul.run(g);
  }
};

// To the nearest bf16, ties to even.
inline float rounded(float x) {
  uint32_t bits;
  std::memcpy(&bits, &x, 4);
  bits = (bits + 0x7fff + (bits >> 16 & 1)) & 0xffff0000u;
  std::memcpy(&x, &bits, 4);
  return x;
}

}  // namespace check
