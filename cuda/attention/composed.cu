// Attention composed of matmuls: S = q k^T, P = softmax(scale S) under the mask, o = P v; and its gradient
//   dV = P^T dO;  dP = dO V^T;  dS = scale P (dP - delta);  dQ = dS K;  dK = dS^T Q
// with P computed again from lse. Parts go one after another, so the workspace is bounded; sums over a group of heads run in order.
#include "attention/launch.h"
#include "attention/parts.h"
#include "kernels.h"
#include "runtime/launch.cuh"

namespace heddle::cuda {
namespace {

// A strided (B, T, H, D) operand, or scores of a part: element (b, kv, g, row, column).
struct Heads {
  void* data;
  int64_t batch, kv, g, row;
};

struct Composer {
  const AttentionShape& s;
  const AttentionParts& parts;
  const AttentionPart& part;

  Heads of(const void* data, const int64_t (&stride)[3], bool keys, DType type) const {
    const int64_t head = keys ? part.kv : part.kv * parts.group + part.g;
    char* first =
        static_cast<char*>(const_cast<void*>(data)) + (part.b * stride[0] + head * stride[2]) * static_cast<int64_t>(size_of(type));
    return {first, stride[0], keys ? stride[2] : stride[2] * parts.group, keys ? 0 : stride[2], stride[1]};
  }
  Heads scores(void* data) const {
    const int64_t head = s.Tq * parts.ld;
    return {data, part.kv_heads * part.heads * head, part.heads * head, head, parts.ld};
  }
  // The heads of a group beginning with the g-th of this part.
  static Heads head(const Heads& h, int64_t g, DType type) {
    return {static_cast<char*>(h.data) + g * h.g * static_cast<int64_t>(size_of(type)), h.batch, h.kv, h.g, h.row};
  }

  // c (+)= a b or a^T b or a b^T over (batches, key heads) of one head of each group, or over (key heads, heads) of one batch.
  void product(const Heads& a, bool trans_a, const Heads& b, bool trans_b, const Heads& c, DType c_type, int64_t M, int64_t N, int64_t K,
               bool accumulate, bool all_heads = true) const {
    MatmulArgs m{};
    m.type = s.type;
    m.c_type = c_type;
    m.a = a.data;
    m.b = b.data;
    m.c = c.data;
    m.M = M;
    m.N = N;
    m.K = K;
    m.a_m = trans_a ? 1 : a.row;
    m.a_k = trans_a ? a.row : 1;
    m.b_k = trans_b ? 1 : b.row;
    m.b_n = trans_b ? b.row : 1;
    m.c_m = c.row;
    const bool grouped = all_heads && part.heads > 1;  // then there is one batch
    m.batch[0] = grouped ? part.kv_heads : part.batches;
    m.batch[1] = grouped ? part.heads : part.kv_heads;
    const auto strides = [&](const Heads& h, int64_t (&to)[2]) {
      to[0] = grouped ? h.kv : h.batch;
      to[1] = grouped ? h.g : h.kv;
    };
    strides(a, m.a_batch);
    strides(b, m.b_batch);
    strides(c, m.c_batch);
    m.accumulate = accumulate;
    matmul(m);
  }
};

// dk or dv = sum over a group's heads of x^T y, x scores of 16 bits or f32, y of the queries' heads.
struct HeadSum {
  const Composer& at;
  float* sums;  // f32 [key heads][Tk][D], or null: the output takes them one by one

  void run(const Heads& x, const Heads& y, void* out, const int64_t (&stride)[3], bool accumulate) const {
    const AttentionShape& s = at.s;
    const Heads direct = at.of(out, stride, true, s.type);
    const Heads to = sums ? Heads{sums, 0, s.Tk * s.D, 0, s.D} : direct;
    for (int64_t g = 0; g < at.part.heads; ++g) {
      const bool first = at.part.g + g == 0;
      at.product(Composer::head(x, g, s.type), true, Composer::head(y, g, s.type), false, to, sums ? DType::f32 : s.type, s.Tk, s.D, s.Tq,
                 first ? accumulate && !sums : true, false);
    }
    if (!sums || at.part.g + at.part.heads < at.parts.group) return;
    launch_attention_add(s.type, sums, direct.data, {{stride[0], stride[1], stride[2]}}, 1, at.part.kv_heads, s.Tk, s.D, accumulate);
  }
};

}  // namespace

void attention_composed(const AttentionArgs& a) {
  const AttentionShape& s = a.s;
  const AttentionParts parts(s, false);
  auto* scores = static_cast<float*>(a.workspace);
  void* p = parts.half() ? static_cast<char*>(a.workspace) + parts.most_heads() * parts.scores_bytes() : a.workspace;
  parts.each([&](const AttentionPart& part) {
    const Composer at{s, parts, part};
    const Heads q = at.of(a.q, a.q_stride, false, s.type), k = at.of(a.k, a.k_stride, true, s.type),
                v = at.of(a.v, a.v_stride, true, s.type);
    at.product(q, false, k, true, at.scores(scores), DType::f32, s.Tq, s.Tk, s.D, false);
    launch_attention_softmax(s, part, scores, p, a.lse, parts.ld);
    at.product(at.scores(p), false, v, false, at.of(a.o, a.o_stride, false, s.type), s.type, s.Tq, s.D, s.Tk, false);
  });
}

void attention_backward_composed(const AttentionBackwardArgs& a) {
  const AttentionShape& s = a.s;
  const AttentionParts parts(s, true);
  char* memory = static_cast<char*>(a.workspace);
  const auto take = [&](int64_t bytes) {
    char* start = memory;
    memory += bytes;
    return start;
  };
  auto* scores = reinterpret_cast<float*>(take(parts.most_heads() * parts.scores_bytes()));
  auto* dp = reinterpret_cast<float*>(take(parts.most_heads() * parts.scores_bytes()));
  void* p = parts.half() ? take(parts.most_heads() * parts.half_bytes()) : static_cast<void*>(scores);
  void* ds = parts.half() ? take(parts.most_heads() * parts.half_bytes()) : static_cast<void*>(dp);
  float* dk_sums = parts.sums_heads() ? reinterpret_cast<float*>(take(parts.sum_bytes())) : nullptr;
  float* dv_sums = parts.sums_heads() ? reinterpret_cast<float*>(take(parts.sum_bytes())) : nullptr;
  parts.each([&](const AttentionPart& part) {
    const Composer at{s, parts, part};
    const Heads q = at.of(a.q, a.q_stride, false, s.type), k = at.of(a.k, a.k_stride, true, s.type),
                v = at.of(a.v, a.v_stride, true, s.type);
    const Heads d_o = at.of(a.d_o, a.do_stride, false, s.type);
    at.product(q, false, k, true, at.scores(scores), DType::f32, s.Tq, s.Tk, s.D, false);
    at.product(d_o, false, v, true, at.scores(dp), DType::f32, s.Tq, s.Tk, s.D, false);
    launch_attention_gradient(a, part, scores, dp, p, ds, parts.ld);
    at.product(at.scores(ds), false, k, false, at.of(a.dq, a.dq_stride, false, s.type), s.type, s.Tq, s.D, s.Tk, a.accumulate_dq);
    HeadSum{at, dv_sums}.run(at.scores(p), d_o, a.dv, a.dv_stride, a.accumulate_dv);
    HeadSum{at, dk_sums}.run(at.scores(ds), q, a.dk, a.dk_stride, a.accumulate_dk);
  });
}

}  // namespace heddle::cuda
