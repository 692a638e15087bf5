// Attention and its gradients against a plain double computation, over random shapes, masks, layouts and dropout.
#include <algorithm>
#include <thread>

#include "check.h"
#include "cpu/host/thread_pool.h"

using namespace heddle;
using check::Floats;
using check::Ints;
using check::Rng;

namespace {

const Backend* kernels;

struct Case {
  int64_t B = 1, Tq = 1, Tk = 1, H = 1, Hkv = 1, D = 16;
  bool causal = true;
  int64_t window = 0;
  int documents = 0;  // 0 none, 1 sorted, 2 random ids
  float dropout = 0;
  bool packed = false;  // q, k, v are views of one [B][T][H + 2 Hkv][D]; so are the gradients
  bool accumulate = false;
  float scale = 0;  // 0: 1 / sqrt(D)
  uint64_t seed = 1;

  std::string text() const {
    return check::text("B=%d Tq=%d Tk=%d H=%d Hkv=%d D=%d causal=%d window=%d documents=%d dropout=%g packed=%d accumulate=%d", int(B),
                       int(Tq), int(Tk), int(H), int(Hkv), int(D), causal, int(window), documents, static_cast<double>(dropout), packed,
                       accumulate);
  }
};

// A (B, T, H, D) array within `buffer`, its inner dimension dense.
struct Tensor {
  int64_t offset, stride[3];
  int64_t at(int64_t b, int64_t t, int64_t h) const { return offset + b * stride[0] + t * stride[1] + h * stride[2]; }
};

// Owns the arrays of one call. Separate arrays have rows of H*D + 3, so that no row is aligned.
struct Problem {
  Case c;
  RandomState random;
  int64_t q_rows, gradient_floats;
  Tensor q, k, v, o, d_o, dq, dk, dv;
  Floats input, output, out_gradient, lse, delta, gradient, before;
  Ints q_documents, k_documents;

  static int64_t total(const Case& c) {
    return c.packed ? c.B * c.Tk * (c.H + 2 * c.Hkv) * c.D : c.B * (c.Tq * (c.H * c.D + 3) + 2 * c.Tk * (c.Hkv * c.D + 3));
  }
  static Tensor tensor(int64_t offset, int64_t T, int64_t row, int64_t D) { return {offset, {T * row, row, D}}; }

  explicit Problem(const Case& given)
      : c(given),
        random{12345u + static_cast<uint32_t>(c.seed), 77, 9, 0},
        input(total(c)),
        output(c.B * c.Tq * (c.H * c.D + 5)),
        out_gradient(c.B * c.Tq * (c.H * c.D + 1)),
        lse(c.B * c.H * c.Tq),
        delta(c.B * c.H * c.Tq),
        gradient(total(c)),
        before(total(c)),
        q_documents(c.B * c.Tq),
        k_documents(c.B * c.Tk) {
    if (c.packed) {
      const int64_t row = (c.H + 2 * c.Hkv) * c.D;
      q = tensor(0, c.Tq, row, c.D), k = tensor(c.H * c.D, c.Tk, row, c.D), v = tensor((c.H + c.Hkv) * c.D, c.Tk, row, c.D);
    } else {
      const int64_t q_row = c.H * c.D + 3, k_row = c.Hkv * c.D + 3;
      q = tensor(0, c.Tq, q_row, c.D), k = tensor(c.B * c.Tq * q_row, c.Tk, k_row, c.D);
      v = tensor(c.B * c.Tq * q_row + c.B * c.Tk * k_row, c.Tk, k_row, c.D);
    }
    dq = q, dk = k, dv = v;
    o = tensor(0, c.Tq, c.H * c.D + 5, c.D), d_o = tensor(0, c.Tq, c.H * c.D + 1, c.D);
    Rng rng(c.seed);
    input.normal(rng);
    out_gradient.normal(rng);
    before.normal(rng);
    for (int64_t b = 0; b < c.B; ++b) {
      int32_t id = 3;
      for (int64_t j = 0; j < c.Tk; ++j) {
        if (c.documents == 1 && rng.below(9) == 0) ++id;
        k_documents[b * c.Tk + j] = c.documents == 2 ? static_cast<int32_t>(rng.below(4)) : id;
      }
      for (int64_t i = 0; i < c.Tq; ++i) {
        const int64_t at = i + c.Tk - c.Tq;
        q_documents[b * c.Tq + i] = at >= 0 ? k_documents[b * c.Tk + at] : 99;
      }
    }
  }

  AttentionShape shape() const {
    AttentionShape s{};
    s.B = c.B, s.Tq = c.Tq, s.Tk = c.Tk, s.H = c.H, s.Hkv = c.Hkv, s.D = c.D;
    s.scale = c.scale != 0 ? c.scale : 1.0f / std::sqrt(static_cast<float>(c.D));
    s.causal = c.causal, s.window = c.window;
    s.q_documents = c.documents ? q_documents.data() : nullptr;
    s.k_documents = c.documents ? k_documents.data() : nullptr;
    s.dropout = c.dropout, s.random = &random, s.stream = 4;
    return s;
  }
  static void strides(const Tensor& t, int64_t* to) { std::copy(t.stride, t.stride + 3, to); }

  void forward() {
    AttentionArgs a{};
    a.s = shape();
    a.q = input.data() + q.offset, a.k = input.data() + k.offset, a.v = input.data() + v.offset;
    a.o = output.data(), a.lse = lse.data();
    strides(q, a.q_stride), strides(k, a.k_stride), strides(v, a.v_stride), strides(o, a.o_stride);
    kernels->attention.run(a);
  }
  void backward() {
    if (c.accumulate) gradient.copy(before);
    AttentionBackwardArgs a{};
    a.s = shape();
    a.q = input.data() + q.offset, a.k = input.data() + k.offset, a.v = input.data() + v.offset;
    a.o = output.data(), a.lse = lse.data(), a.d_o = out_gradient.data(), a.workspace = delta.data();
    a.dq = gradient.data() + dq.offset, a.dk = gradient.data() + dk.offset, a.dv = gradient.data() + dv.offset;
    strides(q, a.q_stride), strides(k, a.k_stride), strides(v, a.v_stride), strides(o, a.o_stride), strides(d_o, a.do_stride);
    strides(dq, a.dq_stride), strides(dk, a.dk_stride), strides(dv, a.dv_stride);
    a.accumulate_dq = a.accumulate_dk = a.accumulate_dv = c.accumulate;
    CHECK(kernels->attention_backward.workspace(a, -1) == sizeof(float) * static_cast<size_t>(delta.size()));
    kernels->attention_backward.run(a);
  }
};

bool sees(const Problem& p, int64_t b, int64_t i, int64_t j) {
  const int64_t position = i + p.c.Tk - p.c.Tq;
  if (p.c.causal && j > position) return false;
  if (p.c.window && !(j > position - p.c.window)) return false;
  if (p.c.window && !p.c.causal && !(j < position + p.c.window)) return false;
  return !p.c.documents || p.q_documents[b * p.c.Tq + i] == p.k_documents[b * p.c.Tk + j];
}

// 1 / (1 - p) or 0, straight from the definition in backend.h.
double keep(const Problem& p, int64_t b, int64_t h, int64_t i, int64_t j) {
  if (!(p.c.dropout > 0)) return 1;
  const uint64_t e = static_cast<uint64_t>(((b * p.c.H + h) * p.c.Tq + i) * p.c.Tk + j);
  const Random4 r = philox(p.random.seed_low, p.random.seed_high, e / 4, 4, p.random.step);
  return r.x[e % 4] >= drop_threshold(p.c.dropout) ? 1.0 / (1.0 - static_cast<double>(p.c.dropout)) : 0.0;
}

struct Reference {
  std::vector<double> o, lse, dq, dk, dv;  // dense (B, T, H, D)
};

Reference reference(const Problem& p) {
  const Case& c = p.c;
  Reference ref;
  ref.o.resize(c.B * c.Tq * c.H * c.D), ref.lse.resize(c.B * c.H * c.Tq);
  ref.dq.resize(c.B * c.Tq * c.H * c.D), ref.dk.resize(c.B * c.Tk * c.Hkv * c.D), ref.dv.resize(ref.dk.size());
  std::vector<double> weight(c.Tk), dp(c.Tk);
  const double scale = p.shape().scale;
  for (int64_t b = 0; b < c.B; ++b)
    for (int64_t h = 0; h < c.H; ++h)
      for (int64_t i = 0; i < c.Tq; ++i) {
        const int64_t g = h / (c.H / c.Hkv);
        const float *q = &p.input[p.q.at(b, i, h)], *d_o = &p.out_gradient[p.d_o.at(b, i, h)];
        double top = -INFINITY, sum = 0, delta = 0;
        for (int64_t j = 0; j < c.Tk; ++j) {
          weight[j] = -INFINITY;
          if (!sees(p, b, i, j)) continue;
          const float* k = &p.input[p.k.at(b, j, g)];
          double s = 0;
          for (int64_t d = 0; d < c.D; ++d) s += double(q[d]) * k[d];
          weight[j] = s * scale;
          top = std::max(top, weight[j]);
        }
        double* o = &ref.o[((b * c.Tq + i) * c.H + h) * c.D];
        double* dq = &ref.dq[((b * c.Tq + i) * c.H + h) * c.D];
        double& lse = ref.lse[(b * c.H + h) * c.Tq + i];
        lse = -INFINITY;
        if (top == -INFINITY) continue;
        for (int64_t j = 0; j < c.Tk; ++j) sum += weight[j] = std::exp(weight[j] - top);
        lse = top + std::log(sum);
        for (int64_t j = 0; j < c.Tk; ++j) {
          weight[j] /= sum;
          if (weight[j] == 0) continue;
          const float* v = &p.input[p.v.at(b, j, g)];
          const double kept = keep(p, b, h, i, j);
          dp[j] = 0;
          for (int64_t d = 0; d < c.D; ++d) {
            o[d] += weight[j] * kept * v[d];
            dp[j] += kept * d_o[d] * v[d];
            ref.dv[((b * c.Tk + j) * c.Hkv + g) * c.D + d] += weight[j] * kept * d_o[d];
          }
          delta += weight[j] * dp[j];
        }
        for (int64_t j = 0; j < c.Tk; ++j) {
          if (weight[j] == 0) continue;
          const double ds = weight[j] * (dp[j] - delta) * scale;
          const float* k = &p.input[p.k.at(b, j, g)];
          for (int64_t d = 0; d < c.D; ++d) {
            dq[d] += ds * k[d];
            ref.dk[((b * c.Tk + j) * c.Hkv + g) * c.D + d] += ds * q[d];
          }
        }
      }
  return ref;
}

// The elements of a strided array in dense order, and whether those between its rows are untouched.
Floats& gather(const Floats& from, const Tensor& t, int64_t B, int64_t T, int64_t H, int64_t D, Floats& to) {
  int64_t n = 0;
  for (int64_t b = 0; b < B; ++b)
    for (int64_t i = 0; i < T; ++i)
      for (int64_t h = 0; h < H; ++h)
        for (int64_t d = 0; d < D; ++d) to[n++] = from[t.at(b, i, h) + d];
  return to;
}

bool gaps_untouched(const Floats& x, const Tensor& t, int64_t B, int64_t T, int64_t used) {
  for (int64_t b = 0; b < B; ++b)
    for (int64_t i = 0; i < T; ++i)
      for (int64_t at = used; at < t.stride[1]; ++at)
        if (!std::isnan(x[t.offset + b * t.stride[0] + i * t.stride[1] + at])) return false;
  return true;
}

void compare(const Case& c) {
  Problem p(c);
  p.forward();
  p.backward();
  Reference ref = reference(p);
  const std::string what = c.text();
  Floats o(c.B * c.Tq * c.H * c.D), dq(o.size()), dk(c.B * c.Tk * c.Hkv * c.D), dv(dk.size());
  gather(p.output, p.o, c.B, c.Tq, c.H, c.D, o);
  gather(p.gradient, p.dq, c.B, c.Tq, c.H, c.D, dq);
  gather(p.gradient, p.dk, c.B, c.Tk, c.Hkv, c.D, dk);
  gather(p.gradient, p.dv, c.B, c.Tk, c.Hkv, c.D, dv);
  if (c.accumulate) {
    Floats b(o.size()), bk(dk.size()), bv(dk.size());
    gather(p.before, p.dq, c.B, c.Tq, c.H, c.D, b);
    gather(p.before, p.dk, c.B, c.Tk, c.Hkv, c.D, bk);
    gather(p.before, p.dv, c.B, c.Tk, c.Hkv, c.D, bv);
    for (int64_t i = 0; i < b.size(); ++i) ref.dq[i] += b[i];
    for (int64_t i = 0; i < bk.size(); ++i) ref.dk[i] += bk[i], ref.dv[i] += bv[i];
  }
  // Multiply-then-add rounds twice; with dropout few large terms remain.
  const double tolerance = c.dropout > 0 ? 4e-6 : 2e-6, gradient_tolerance = c.D > 128 ? 8e-6 : 5e-6;
  CHECK_CLOSE(o, ref.o, tolerance, "%s", what.c_str());
  CHECK_CLOSE(p.lse, ref.lse, 1e-6, "%s", what.c_str());
  // With one key in sight the exact dq and dk are zero: what is left is the rounding of dP - delta, judged by the size of delta.
  const double floor = c.Tk < 8 || c.window == 1 ? std::sqrt(static_cast<double>(c.D)) : 1e-3;
  const auto close = [&](const char* name, const Floats& x, const std::vector<double>& y, double least) {
    const double error = check::scaled_error(x, y, least);
    CHECK_MSG(error <= gradient_tolerance, "%s: scaled error %.3g, %s", name, error, what.c_str());
  };
  close("dq", dq, ref.dq, floor);
  close("dk", dk, ref.dk, floor);
  close("dv", dv, ref.dv, 1e-3);
  CHECK_MSG(p.output.guarded() && p.lse.guarded() && p.delta.guarded() && p.gradient.guarded() && p.input.guarded(), "wrote outside, %s",
            what.c_str());
  CHECK_MSG(gaps_untouched(p.output, p.o, c.B, c.Tq, c.H * c.D), "wrote between rows of o, %s", what.c_str());
  if (!c.packed && !c.accumulate) {
    CHECK_MSG(gaps_untouched(p.gradient, p.dq, c.B, c.Tq, c.H * c.D), "wrote between rows of dq, %s", what.c_str());
    CHECK_MSG(gaps_untouched(p.gradient, p.dk, c.B, c.Tk, c.Hkv * c.D), "wrote between rows of dk, %s", what.c_str());
    CHECK_MSG(gaps_untouched(p.gradient, p.dv, c.B, c.Tk, c.Hkv * c.D), "wrote between rows of dv, %s", what.c_str());
  }
}

Case random_case(Rng& rng, int64_t longest) {
  static const int64_t sizes[] = {16, 24, 32, 36, 40, 64, 65, 80, 96, 100, 128, 33, 7};
  Case c;
  c.seed = rng.next() % 1000;
  c.B = 1 + rng.below(3), c.Hkv = 1 + rng.below(3), c.H = c.Hkv * (1 + rng.below(3)), c.D = sizes[rng.below(13)];
  c.Tq = 1 + rng.below(longest);
  c.Tk = rng.below(2) ? c.Tq : 1 + rng.below(longest);
  c.causal = rng.below(3) > 0;
  if (rng.below(3) == 0) c.window = 1 + rng.below(c.Tk + 3);
  c.documents = std::max(0, static_cast<int>(rng.below(5)) - 2);
  if (rng.below(4) == 0) c.dropout = 0.1f + 0.5f * static_cast<float>(rng.unit());
  c.packed = c.Tq == c.Tk && rng.below(2);
  c.accumulate = rng.below(3) == 0;
  return c;
}

void test_against_reference() {
  for (int64_t T : {1, 2, 7, 63, 64, 65, 129, 257}) {
    Case c;
    c.H = 2, c.Tq = c.Tk = T, c.D = T == 257 ? 128 : 32, c.packed = true;
    compare(c);
    c.Hkv = 1, c.packed = false, c.causal = false;
    compare(c);
  }
  for (int64_t D : {1, 3, 16, 17, 48, 64, 72, 127, 192, 256}) {
    Case c;
    c.Tq = c.Tk = 70, c.D = D;
    compare(c);
  }
  Case decode;
  decode.B = 2, decode.H = 6, decode.Hkv = 2, decode.Tk = 300, decode.D = 64;
  compare(decode);
  Case window;
  window.Tq = window.Tk = 333, window.window = 20, window.D = 32;
  compare(window);
  window.causal = false;
  compare(window);
  Case documents;
  documents.B = 2, documents.Tq = documents.Tk = 290, documents.documents = 1, documents.D = 32;
  compare(documents);
  documents.dropout = 0.3f, documents.accumulate = true;
  compare(documents);
  Case negative;
  negative.Tq = negative.Tk = 90, negative.scale = -0.3f;
  compare(negative);
  Case long_one;
  long_one.Tq = long_one.Tk = 700, long_one.D = 64, long_one.packed = true;
  compare(long_one);
  Case longer;  // more blocks of queries than one item has
  longer.H = 2, longer.Tq = longer.Tk = 1300, longer.D = 16;
  compare(longer);
  Rng rng(2024);
  for (int n = 0; n < 120; ++n) compare(random_case(rng, n % 4 ? 90 : 200));
}

// Large scores: no overflow, and the weights are those of the reference.
void test_large_scores() {
  Case c;
  c.Tq = c.Tk = 150, c.D = 32;
  Problem p(c);
  for (float& x : p.input) x *= 20;
  p.forward();
  const Reference ref = reference(p);
  Floats o(c.Tq * c.D);
  gather(p.output, p.o, 1, c.Tq, 1, c.D, o);
  CHECK_CLOSE(o, ref.o, 1e-4, "scores of several hundred");  // the scores' own rounding, 1e-5, is an error of the weights
}

// More queries than keys and no ids in common: rows that see nothing.
void test_rows_that_see_nothing() {
  for (int kind = 0; kind < 3; ++kind) {
    Case c;
    c.B = 2, c.H = 2, c.Tq = 100, c.Tk = kind == 2 ? 0 : 30, c.D = 24, c.causal = kind != 1, c.documents = kind == 1 ? 1 : 0;
    Problem p(c);
    if (kind == 1)
      for (int32_t& d : p.q_documents) d = 50;
    p.forward();
    p.backward();
    for (int64_t b = 0; b < c.B; ++b)
      for (int64_t h = 0; h < c.H; ++h)
        for (int64_t i = 0; i < c.Tq; ++i) {
          if (kind == 0 && i >= 70) continue;
          bool zero = true;
          for (int64_t d = 0; d < c.D; ++d) zero &= p.output[p.o.at(b, i, h) + d] == 0 && p.gradient[p.dq.at(b, i, h) + d] == 0;
          CHECK_MSG(zero, "row %d sees nothing, kind %d: o and dq must be 0", int(i), kind);
          CHECK_MSG(p.lse[(b * c.H + h) * c.Tq + i] == -INFINITY, "row %d sees nothing, kind %d: lse must be -inf", int(i), kind);
        }
    for (int64_t b = 0; b < c.B; ++b)
      for (int64_t j = 0; j < c.Tk; ++j)
        for (int64_t d = 0; d < c.D; ++d) {
          const float x = p.gradient[p.dk.at(b, j, 0) + d], y = p.gradient[p.dv.at(b, j, 0) + d];
          CHECK_MSG(kind == 1 ? x == 0 && y == 0 : std::isfinite(x) && std::isfinite(y), "dk, dv of key %d, kind %d", int(j), kind);
        }
  }
}

// A NaN in any input shows in every result that depends on it.
void test_nan_is_not_hidden() {
  for (int which = 0; which < 3; ++which) {
    Case c;
    c.Tq = c.Tk = 140, c.D = 32;
    Problem p(c);
    const Tensor& t = which == 0 ? p.q : which == 1 ? p.k : p.v;
    p.input[t.at(0, 20, 0) + 5] = NAN;
    p.forward();
    p.backward();
    for (int64_t i = 20; i < (which == 0 ? 21 : c.Tq); ++i) {
      CHECK_MSG(std::isnan(p.output[p.o.at(0, i, 0) + 5]), "NaN in input %d hidden in o of row %d", which, int(i));
      if (which < 2) CHECK_MSG(std::isnan(p.lse[i]), "NaN in input %d hidden in lse of row %d", which, int(i));
      CHECK_MSG(std::isnan(p.gradient[p.dq.at(0, i, 0) + 5]), "NaN in input %d hidden in dq of row %d", which, int(i));
    }
    CHECK_MSG(std::isnan(p.gradient[p.dk.at(0, 3, 0)]), "NaN in input %d hidden in dk", which);
  }
}

void on_threads(int threads, Problem& p) {
  std::thread([&] {
    cpu::ThreadPool pool(threads);
    pool.make_current();
    p.forward();
    p.backward();
  }).join();
}

void test_bits_for_any_thread_count() {
  Rng rng(5);
  for (int n = 0; n < 18; ++n) {
    Case c = random_case(rng, 200);
    if (n >= 16) c.Tq = c.Tk = 1100, c.B = 1, c.H = 2, c.Hkv = n - 15, c.D = 24, c.packed = false;  // items of several blocks
    Problem one(c), three(c), five(c);
    on_threads(1, one);
    on_threads(3, three);
    on_threads(5, five);
    CHECK_MSG(one.output.same_bits(three.output) && one.lse.same_bits(three.lse), "o, lse: 1 and 3 threads differ, %s", c.text().c_str());
    CHECK_MSG(one.gradient.same_bits(three.gradient), "gradients: 1 and 3 threads differ, %s", c.text().c_str());
    CHECK_MSG(one.output.same_bits(five.output) && one.gradient.same_bits(five.gradient), "1 and 5 threads differ, %s", c.text().c_str());
  }
}

// The last rows of a long sequence, alone or in company, alone in the batch or not: the same bits.
void test_rows_stand_alone() {
  for (int64_t window : {0, 70}) {
    Case c;
    c.B = 3, c.H = 4, c.Hkv = 2, c.Tq = c.Tk = 211, c.D = 40, c.window = window;
    Problem all(c);
    all.forward();
    for (int64_t queries : {1, 2, 20, 65}) {
      for (int64_t b = 0; b < c.B; ++b) {
        AttentionArgs a{};
        a.s = all.shape();
        a.s.B = 1, a.s.Tq = queries;
        const int64_t first = c.Tq - queries;
        Floats o(queries * c.H * c.D), lse(c.H * queries);
        a.q = all.input.data() + all.q.at(b, first, 0), a.k = all.input.data() + all.k.at(b, 0, 0);
        a.v = all.input.data() + all.v.at(b, 0, 0);
        a.o = o.data(), a.lse = lse.data();
        Problem::strides(all.q, a.q_stride), Problem::strides(all.k, a.k_stride), Problem::strides(all.v, a.v_stride);
        Problem::strides({0, {0, c.H * c.D, c.D}}, a.o_stride);
        kernels->attention.run(a);
        bool same = true;
        for (int64_t i = 0; i < queries; ++i)
          for (int64_t h = 0; h < c.H; ++h) {
            same &= std::memcmp(&o[(i * c.H + h) * c.D], &all.output[all.o.at(b, first + i, h)], sizeof(float) * c.D) == 0;
            same &= lse[h * queries + i] == all.lse[(b * c.H + h) * c.Tq + first + i];
          }
        CHECK_MSG(same, "the last %d queries of batch row %d alone differ, window %d", int(queries), int(b), int(window));
      }
    }
  }
}

// Keys and values in pages that lie backwards, NaN where they hold nothing: the bits of keys side by side.
void test_pages() {
  for (int64_t size : {16, 64, 256})
    for (int64_t Tk : {1, 17, 130, 211}) {
      Case c;
      c.B = 2, c.H = 4, c.Hkv = 2, c.Tq = Tk < 5 ? Tk : 5, c.Tk = Tk, c.D = 20, c.window = size == 64 ? 70 : 0;
      Problem side(c), there(c);
      side.forward();
      const int64_t used = (Tk + size - 1) / size, pages = c.B * used, page = size * c.Hkv * c.D;
      Floats pool(2 * pages * page);
      for (int64_t i = 0; i < 2 * pages * page; ++i) pool[i] = std::numeric_limits<float>::quiet_NaN();
      std::vector<int32_t> table(static_cast<size_t>(c.B * (used + 1)), -1);
      for (int64_t b = 0; b < c.B; ++b)
        for (int64_t j = 0; j < Tk; ++j) {
          const int64_t number = pages - 1 - b * used - j / size;
          table[static_cast<size_t>(b * (used + 1) + j / size)] = static_cast<int32_t>(number);
          for (int64_t h = 0; h < c.Hkv; ++h) {
            float* to = pool.data() + number * page + (h * size + j % size) * c.D;
            std::memcpy(to, there.input.data() + there.k.at(b, j, h), sizeof(float) * c.D);
            std::memcpy(to + pages * page, there.input.data() + there.v.at(b, j, h), sizeof(float) * c.D);
          }
        }
      AttentionArgs a{};
      a.s = there.shape();
      a.q = there.input.data() + there.q.offset, a.k = pool.data(), a.v = pool.data() + pages * page;
      a.o = there.output.data(), a.lse = there.lse.data();
      Problem::strides(there.q, a.q_stride), Problem::strides(there.o, a.o_stride);
      Problem::strides({0, {page, c.D, size * c.D}}, a.k_stride), Problem::strides({0, {page, c.D, size * c.D}}, a.v_stride);
      a.pages = {table.data(), used + 1, size, pages};
      kernels->attention.run(a);
      CHECK_MSG(side.output.same_bits(there.output) && side.lse.same_bits(there.lse), "pages of %d, %d keys: bits differ", int(size),
                int(Tk));
      table[0] = static_cast<int32_t>(pages);
      std::string message;
      try {
        kernels->attention.run(a);
      } catch (const OpError& e) {
        message = e.what();
      }
      CHECK_MSG(message.find("attention: pages[0] must be within") == 0, "a page that does not exist: %s", message.c_str());
    }
}

// Values are one-hot: o shows the very weights, so that each dropped element is seen.
void test_dropout_mask() {
  Case c;
  c.B = 2, c.H = 2, c.Tq = 37, c.Tk = 61, c.D = 61, c.causal = false, c.dropout = 0.4f;
  Problem p(c);
  for (int64_t b = 0; b < c.B; ++b)
    for (int64_t j = 0; j < c.Tk; ++j)
      for (int64_t d = 0; d < c.D; ++d) p.input[p.v.at(b, j, 0) + d] = d == j;
  p.forward();
  int64_t dropped = 0, wrong = 0;
  for (int64_t b = 0; b < c.B; ++b)
    for (int64_t h = 0; h < c.H; ++h)
      for (int64_t i = 0; i < c.Tq; ++i)
        for (int64_t j = 0; j < c.Tk; ++j) {
          const bool zero = p.output[p.o.at(b, i, h) + j] == 0;
          dropped += zero;
          wrong += zero != (keep(p, b, h, i, j) == 0);
        }
  CHECK_MSG(wrong == 0, "%d elements dropped or kept against the generator", int(wrong));
  const double share = static_cast<double>(dropped) / static_cast<double>(c.B * c.H * c.Tq * c.Tk);
  CHECK_MSG(std::fabs(share - 0.4) < 0.03, "dropped %g of the elements, p = 0.4", share);
}

}  // namespace

int main() {
  kernels = &check::backend();
  test_against_reference();
  test_large_scores();
  test_rows_that_see_nothing();
  test_nan_is_not_hidden();
  test_bits_for_any_thread_count();
  test_rows_stand_alone();
  test_pages();
  test_dropout_mask();
  return check::result();
}
