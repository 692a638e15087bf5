#include "napi/table.h"

#include "napi/bind.h"
#include "ops/ops.h"

namespace heddle {
namespace {

using bind::Op;

// One line per op: its JavaScript name, the function, the names of the arguments. The order is that of ops/ops.h.
template <class F>
void each_op(F&& f) {
  static const auto all = std::make_tuple(
      Op("empty", &ops::empty, {"device", "dtype", "shape"}), Op("emptyOnHost", &ops::empty_on_host, {"device", "dtype", "shape"}),
      Op("fill", &ops::fill, {"out", "value"}), Op("random", &ops::random, {"out", "distribution", "a", "b", "seed", "stream"}),
      Op("cast", &ops::cast, {"x", "dtype"}), Op("copyInto", &ops::copy_into, {"out", "x"}),
      Op("toDevice", &ops::to_device, {"x", "device"}), Op("concat", &ops::concat, {"tensors", "dim"}),
      Op("gather", &ops::gather, {"x", "dim", "index"}),
      Op("gatherBackward", &ops::gather_backward, {"dy", "dim", "index", "dx", "accumulate"}), Op("alias", &ops::alias, {"x"}),
      Op("reshape", &ops::reshape, {"x", "shape"}), Op("permute", &ops::permute, {"x", "dims"}),
      Op("splitHeads", &ops::split_heads, {"qkv", "heads", "kvHeads"}), Op("slice", &ops::slice, {"x", "dim", "start", "stop", "step"}),
      Op("expand", &ops::expand, {"x", "shape"}), Op("unary", &ops::unary, {"x", "kind"}),
      Op("unaryBackward", &ops::unary_backward, {"x", "dy", "kind", "dx", "accumulate"}), Op("binary", &ops::binary, {"a", "b", "kind"}),
      Op("binaryInto", &ops::binary_into, {"a", "b", "kind", "out", "accumulate"}), Op("where", &ops::where, {"condition", "a", "b"}),
      Op("swiglu", &ops::swiglu, {"gate", "up"}),
      Op("swigluBackward", &ops::swiglu_backward, {"gate", "up", "dy", "dgate", "dup", "accumulate"}),
      Op("dropout", &ops::dropout, {"x", "p", "random", "stream"}),
      Op("dropoutBackward", &ops::dropout_backward, {"dy", "p", "random", "stream", "dx", "accumulate"}),
      Op("reduce", &ops::reduce, {"x", "kind", "dims", "keepDims"}), Op("sumInto", &ops::sum_into, {"x", "out", "accumulate"}),
      Op("softmax", &ops::softmax, {"x", "log"}), Op("softmaxBackward", &ops::softmax_backward, {"y", "dy", "log", "dx", "accumulate"}),
      Op("matmul", &ops::matmul, {"a", "b", "transA", "transB", "precision"}),
      Op("matmulInto", &ops::matmul_into, {"a", "b", "transA", "transB", "out", "accumulate", "precision"}),
      Op("matmulDerivative", &ops::matmul_derivative, {"a", "b", "transB", "pre", "activation", "precision"}),
      Op("linear", &ops::linear, {"x", "w", "bias", "residual", "activation", "conv1d", "keepPre", "precision"}),
      Op("linearBackward", &ops::linear_backward,
         {"dy", "spendDy", "x", "w", "pre", "activation", "conv1d", "dx", "addDx", "dw", "addDw", "db", "addDb", "precision"}),
      Op("fp8Quantize", &ops::fp8_quantize, {"x", "format"}),
      Op("fp8Dequantize", &ops::fp8_dequantize, {"codes", "scale", "format", "dtype"}),
      Op("fp8Linear", &ops::fp8_linear,
         {"x", "xScale", "xFormat", "w", "wScale", "wFormat", "bias", "residual", "activation", "keepPre", "dtype"}),
      Op("nf4Quantize", &ops::nf4_quantize, {"w"}),
      Op("nf4Dequantize", &ops::nf4_dequantize, {"codes", "scales", "ranges", "mean", "shape", "dtype"}),
      Op("embedding", &ops::embedding, {"table", "ids", "positions", "first"}),
      Op("embeddingBackward", &ops::embedding_backward, {"dy", "ids", "dtable", "accumulate"}),
      Op("rope", &ops::rope, {"x", "positions", "first", "theta", "rotary", "interleaved", "factor", "low", "high", "context"}),
      Op("ropeBackward", &ops::rope_backward,
         {"dy", "positions", "first", "theta", "rotary", "interleaved", "factor", "low", "high", "context", "dx", "accumulate"}),
      Op("norm", &ops::norm, {"x", "residual", "w", "b", "rms", "eps"}),
      Op("normBackward", &ops::norm_backward,
         {"h", "w", "mean", "rstd", "dy", "rms", "dx", "accumulateDx", "dw", "accumulateDw", "db", "accumulateDb"}),
      Op("attention", &ops::attention,
         {"q", "k", "v", "scale", "causal", "window", "qDocuments", "kDocuments", "dropout", "random", "stream", "pages", "keys"}),
      Op("writePages", &ops::write_pages, {"pages", "x", "places"}),
      Op("attentionBackward", &ops::attention_backward,
         {"q",          "k",       "v",      "o",      "lse", "dO",           "scale", "causal",       "window", "qDocuments",
          "kDocuments", "dropout", "random", "stream", "dq",  "accumulateDq", "dk",    "accumulateDk", "dv",     "accumulateDv"}),
      Op("crossEntropy", &ops::cross_entropy, {"logits", "targets", "scale", "dlogits", "valid", "ignoreIndex", "smoothing", "zLoss"}),
      Op("stepBegin", &ops::step_begin, {"state", "keepClip"}), Op("gradNorm", &ops::grad_norm, {"g", "state", "maxNorm"}),
      Op("optimizerStep", &ops::optimizer_step,
         {"kind", "p", "g", "m", "v", "copy", "state", "decayN", "beta1", "beta2", "eps", "weightDecay", "dampening", "nesterov", "seed"}),
      Op("muonMomentum", &ops::muon_momentum, {"g", "m", "x", "state", "beta", "nesterov"}),
      Op("muonApply", &ops::muon_apply, {"p", "x", "copy", "state", "weightDecay", "ratio"}));
  std::apply([&](const auto&... op) { (f(op), ...); }, all);
}

}  // namespace

void install_ops(napi_env env, napi_value exports) {
  each_op([&](const auto& op) { op.install(env, exports); });
}

std::string op_signatures() {
  std::string s;
  each_op([&](const auto& op) { s += op.signature(); });
  return s;
}

}  // namespace heddle
