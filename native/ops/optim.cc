#include "ops/check.h"
#include "ops/ops.h"

namespace heddle::ops {
namespace {

StepState* state_of(const Tensor& t) {
  const bool words = t.dtype == DType::i32 || t.dtype == DType::f32;  // the state holds both
  require(words && t.dense() && t.elements() == 16, "state", "a dense f32 or i32 tensor of 16 elements", t);
  return t.data<StepState>();
}

float* flat(const Tensor& t, const char* argument, int64_t n) {
  require(
      t.dtype == DType::f32 && t.dense() && t.elements() == n, argument,
      [&] { return "a dense f32 tensor of " + std::to_string(n) + " elements"; }, t);
  return t.data<float>();
}

// Of what may be kept in bf16.
void* flat_or_bf16(const Tensor& t, const char* argument, int64_t n, DType type) {
  require(
      t.dtype == type && t.dense() && t.elements() == n, argument,
      [&] { return std::string("a dense ") + name_of(type) + " tensor of " + std::to_string(n) + " elements"; }, t);
  return t.data<void>();
}

// The copy that kernels compute with, when there is one.
struct HalfCopy {
  void* data = nullptr;
  DType type = DType::f32;

  HalfCopy(const Tensor* t, const Tensor& p) {
    if (!t) return;
    require((t->dtype == DType::bf16 || t->dtype == DType::f16) && t->dense() && t->elements() == p.elements(), "copy",
            [&] { return "a dense bf16 or f16 tensor of " + std::to_string(p.elements()) + " elements"; }, *t);
    require_same_device(p, "p", *t, "copy");
    data = t->data<void>();
    type = t->dtype;
  }
};

}  // namespace

void step_begin(const Tensor& state, bool keep_clip) {
  launch(state.device(), state.device()->backend->step_begin, StepBeginArgs{state_of(state), keep_clip});
}

void grad_norm(const Tensor& g, const Tensor& state, double max_norm) {
  launch(g.device(), g.device()->backend->grad_norm,
         GradNormArgs{flat(g, "g", g.elements()), g.elements(), state_of(state), static_cast<float>(max_norm), nullptr});
}

void optimizer_step(Optimizer kind, const Tensor& p, const Tensor& g, const Tensor* m, const Tensor* v, const Tensor* copy,
                    const Tensor& state, int64_t decay_n, double beta1, double beta2, double eps, double weight_decay, double dampening,
                    bool nesterov, double seed) {
  const int64_t n = p.elements();
  const auto kept = [](const Tensor* t) { return t && t->dtype == DType::bf16 ? DType::bf16 : DType::f32; };
  const DType p_type = kept(&p), moment_type = kept(m);
  const bool adam = kind == Optimizer::adamw || kind == Optimizer::adam;
  require(m || (kind == Optimizer::sgd && beta1 == 0), "m", "given for this optimizer", "none");
  require(v || !adam, "v", "given for adamw and adam", "none");
  require(decay_n >= 0 && decay_n <= n, "decayN", [&] { return "from 0 to " + std::to_string(n); }, decay_n);
  require(!copy || p_type == DType::f32, "copy", "null where p is bf16", "one");
  const HalfCopy half(copy, p);
  const uint64_t bits = seed_of(seed);
  if (!n) return;
  launch(p.device(), p.device()->backend->optimizer,
         OptimizerArgs{kind,
                       flat_or_bf16(p, "p", n, p_type),
                       m ? flat_or_bf16(*m, "m", n, moment_type) : nullptr,
                       v ? flat_or_bf16(*v, "v", n, moment_type) : nullptr,
                       flat(g, "g", n),
                       half.data,
                       half.type,
                       n,
                       decay_n,
                       state_of(state),
                       beta1,
                       beta2,
                       static_cast<float>(eps),
                       static_cast<float>(weight_decay),
                       static_cast<float>(dampening),
                       nesterov,
                       p_type,
                       moment_type,
                       static_cast<uint32_t>(bits),
                       static_cast<uint32_t>(bits >> 32)});
}

void muon_momentum(const Tensor& g, const Tensor& m, const Tensor& x, const Tensor& state, double beta, bool nesterov) {
  const int64_t n = g.elements();
  launch(g.device(), g.device()->backend->muon_momentum,
         MuonMomentumArgs{flat(g, "g", n), flat(m, "m", n), flat(x, "x", n), n, state_of(state), beta, nesterov});
}

void muon_apply(const Tensor& p, const Tensor& x, const Tensor* copy, const Tensor& state, double weight_decay, double ratio) {
  const int64_t n = p.elements();
  const HalfCopy half(copy, p);
  launch(p.device(), p.device()->backend->muon_apply,
         MuonApplyArgs{flat(p, "p", n), flat(x, "x", n), half.data, half.type, n, state_of(state), static_cast<float>(weight_decay),
                       static_cast<float>(ratio)});
}

}  // namespace heddle::ops
