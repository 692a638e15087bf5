#include <algorithm>

#include "ops/check.h"
#include "ops/ops.h"

namespace heddle::ops {
namespace {

// The checks that forward and backward share, and the tensors that the argument struct points to.
struct Problem {
  AttentionShape shape;
  Tensor q, k, v;
  std::optional<Tensor> q_documents, k_documents, pages;

  // `type`: what the kernel computes with. `table`: k and v lie in pages, of which rows have the first `keys` positions.
  Problem(DType type, const Tensor& q0, const Tensor& k0, const Tensor& v0, double scale, bool causal, int64_t window, const Tensor* q_docs,
          const Tensor* k_docs, double dropout, const Tensor* random, int64_t stream, const Tensor* table = nullptr, int64_t keys = 0)
      : shape{}, q(q0), k(k0), v(v0) {
    require(q.rank() == 4, "q", "(B, Tq, H, D)", q.shape);
    require(
        k.rank() == 4 && (table || k.shape[0] == q.shape[0]) && k.shape[3] == q.shape[3], "k",
        [&] {
          return std::string("(") + (table ? "pages" : std::to_string(q.shape[0])) + ", " + (table ? "positions" : "Tk") + ", Hkv, " +
                 std::to_string(q.shape[3]) + ") for q " + text(q.shape);
        },
        k.shape);
    require_shape(v, "v", k.shape);
    require_same_device(q, "q", k, "k");
    require_same_device(q, "q", v, "v");
    const int64_t B = q.shape[0], Tq = q.shape[1], H = q.shape[2], D = q.shape[3], Tk = table ? keys : k.shape[1], Hkv = k.shape[2];
    require(Hkv > 0 && H % Hkv == 0, "k", [&] { return "of a number of heads that divides the " + std::to_string(H) + " of q"; }, Hkv);
    require(D >= 1 && D <= 256, "q", "of a head size from 1 to 256", D);
    require(window >= 0, "window", "at least 0", window);
    require(dropout >= 0 && dropout < 1, "dropout", "at least 0 and below 1", dropout);
    require((q_docs == nullptr) == (k_docs == nullptr), "documents", "given for both queries and keys, or for neither", "one of them");
    if (table) {
      const int64_t size = k.shape[1];
      require(
          size >= kSmallestPage && (size & (size - 1)) == 0, "k",
          [&] { return "of pages of a power of two of positions, at least " + std::to_string(kSmallestPage); }, size);
      require(table->rank() == 2 && table->shape[0] == B, "pages", [&] { return "(" + std::to_string(B) + ", n)"; }, table->shape);
      require(
          keys >= 0 && keys <= table->shape[1] * size, "keys",
          [&] { return "from 0 to the " + std::to_string(table->shape[1] * size) + " positions of a row's pages"; }, keys);
      require(!q_docs && dropout == 0, "pages", "without documents and dropout", q_docs ? "documents" : "dropout");
      require(keys == 0 || k.shape[0] > 0, "k", "of at least one page", k.shape);
      require_same_device(q, "q", *table, "pages");
      pages = dense_i32(*table, "pages");
    }
    q = dense_rows(q, "q", type);
    k = dense_rows(k, "k", type);
    v = dense_rows(v, "v", type);
    if (q_docs) {
      require_shape(*q_docs, "q_documents", {B, Tq});
      require_shape(*k_docs, "k_documents", {B, Tk});
      q_documents = dense_i32(*q_docs, "q_documents");
      k_documents = dense_i32(*k_docs, "k_documents");
    }
    if (dropout > 0)
      require(random && random->dtype == DType::i32 && random->dense() && random->elements() == 4, "random",
              "a dense i32 tensor of 4 elements when dropout is used", [&] { return random ? text(*random) : "none"; });
    shape = {type,
             B,
             Tq,
             Tk,
             H,
             Hkv,
             D,
             static_cast<float>(scale),
             causal,
             window,
             q_documents ? q_documents->data<int32_t>() : nullptr,
             k_documents ? k_documents->data<int32_t>() : nullptr,
             static_cast<float>(dropout),
             dropout > 0 ? random->data<RandomState>() : nullptr,
             static_cast<uint32_t>(stream)};
  }
};

void strides(const Tensor& t, int64_t (&out)[3]) { std::copy_n(t.stride.begin(), 3, out); }

// A gradient that may be a view of a packed one.
class RowsOutput {
 public:
  RowsOutput(const Tensor& wanted, const char* argument, const Shape& shape, bool accumulate, DType type)
      : tensor_(wanted), accumulate_(accumulate) {
    require_shape(wanted, argument, shape);
    if (wanted.dtype == type && (shape[3] == 1 || wanted.stride[3] == 1)) return;
    beside_.emplace(wanted, argument, shape, accumulate, type);
    tensor_ = beside_->tensor();
    accumulate_ = beside_->accumulate();
  }
  const Tensor& tensor() const { return tensor_; }
  bool accumulate() const { return accumulate_; }
  void finish() const {
    if (beside_) beside_->finish();
  }

 private:
  Tensor tensor_;
  bool accumulate_;
  std::optional<Output> beside_;
};

}  // namespace

std::tuple<Tensor, Tensor> attention(const Tensor& q, const Tensor& k, const Tensor& v, double scale, bool causal, int64_t window,
                                     const Tensor* q_documents, const Tensor* k_documents, double dropout, const Tensor* random,
                                     int64_t stream, const Tensor* pages, int64_t keys) {
  const DType type = compute_type({&q, &k, &v});
  const Problem p(type, q, k, v, scale, causal, window, q_documents, k_documents, dropout, random, stream, pages, keys);
  Tensor o = Tensor::empty(q.device(), type, q.shape);
  Tensor lse = Tensor::empty(q.device(), DType::f32, {p.shape.B, p.shape.H, p.shape.Tq});
  if (o.elements()) {
    AttentionArgs args{};
    args.s = p.shape;
    args.q = p.q.data<void>();
    args.k = p.k.data<void>();
    args.v = p.v.data<void>();
    args.o = o.data<void>();
    args.lse = lse.data<float>();
    strides(p.q, args.q_stride);
    strides(p.k, args.k_stride);
    strides(p.v, args.v_stride);
    strides(o, args.o_stride);
    if (p.pages) args.pages = {p.pages->data<int32_t>(), p.pages->shape[1], p.k.shape[1], p.k.shape[0]};
    launch(q.device(), q.device()->backend->attention, args);
  }
  return {result_as(o, q.dtype), lse};
}

void write_pages(const Tensor& pages, const Tensor& x, const Tensor& places) {
  require(pages.rank() == 4, "pages", "(P, S, H, D)", pages.shape);
  require_float(pages, "pages");
  require(pages.shape[3] <= 1 || pages.stride[3] == 1, "pages", "dense in the last dimension", text(pages));
  require(
      x.rank() == 4 && x.shape[2] == pages.shape[2] && x.shape[3] == pages.shape[3], "x",
      [&] { return "(B, T, " + std::to_string(pages.shape[2]) + ", " + std::to_string(pages.shape[3]) + ")"; }, x.shape);
  require_shape(places, "places", {x.shape[0], x.shape[1]});
  require_same_device(pages, "pages", x, "x");
  require_same_device(pages, "pages", places, "places");
  if (!x.elements()) return;
  const Tensor rows = dense_rows(x, "x", pages.dtype), to = dense_i32(places, "places");
  WritePagesArgs args{};
  args.type = pages.dtype;
  args.pages = pages.data<void>();
  args.x = rows.data<void>();
  args.places = to.data<int32_t>();
  args.n = x.shape[0] * x.shape[1];
  args.T = x.shape[1];
  args.H = x.shape[2];
  args.D = x.shape[3];
  args.size = pages.shape[1];
  args.count = pages.shape[0];
  strides(pages, args.pages_stride);
  strides(rows, args.x_stride);
  launch(pages.device(), pages.device()->backend->write_pages, args);
}

void attention_backward(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& o, const Tensor& lse, const Tensor& d_o,
                        double scale, bool causal, int64_t window, const Tensor* q_documents, const Tensor* k_documents, double dropout,
                        const Tensor* random, int64_t stream, const Tensor& dq, bool accumulate_dq, const Tensor& dk, bool accumulate_dk,
                        const Tensor& dv, bool accumulate_dv) {
  const DType type = compute_type({&q, &k, &v, &o, &d_o});
  const Problem p(type, q, k, v, scale, causal, window, q_documents, k_documents, dropout, random, stream);
  require_shape(o, "o", q.shape);
  require_shape(d_o, "do", q.shape);
  require_shape(lse, "lse", {p.shape.B, p.shape.H, p.shape.Tq});
  const Tensor out = dense_rows(o, "o", type), grad = dense_rows(d_o, "do", type), sums = dense(lse, "lse", DType::f32);
  const RowsOutput to_q(dq, "dq", q.shape, accumulate_dq, type), to_k(dk, "dk", k.shape, accumulate_dk, type),
      to_v(dv, "dv", v.shape, accumulate_dv, type);
  if (!k.elements() || !q.elements()) {
    const std::pair<const Tensor*, bool> outputs[] = {{&dq, accumulate_dq}, {&dk, accumulate_dk}, {&dv, accumulate_dv}};
    for (const auto& [t, adds] : outputs)
      if (!adds) fill(*t, 0);
    return;
  }
  AttentionBackwardArgs args{};
  args.s = p.shape;
  args.q = p.q.data<void>();
  args.k = p.k.data<void>();
  args.v = p.v.data<void>();
  args.o = out.data<void>();
  args.lse = sums.data<float>();
  args.d_o = grad.data<void>();
  args.dq = to_q.tensor().data<void>();
  args.dk = to_k.tensor().data<void>();
  args.dv = to_v.tensor().data<void>();
  strides(p.q, args.q_stride);
  strides(p.k, args.k_stride);
  strides(p.v, args.v_stride);
  strides(out, args.o_stride);
  strides(grad, args.do_stride);
  strides(to_q.tensor(), args.dq_stride);
  strides(to_k.tensor(), args.dk_stride);
  strides(to_v.tensor(), args.dv_stride);
  args.accumulate_dq = to_q.accumulate();
  args.accumulate_dk = to_k.accumulate();
  args.accumulate_dv = to_v.accumulate();
  launch(q.device(), q.device()->backend->attention_backward, args);
  for (const RowsOutput* r : {&to_q, &to_k, &to_v}) r->finish();
}

}  // namespace heddle::ops
