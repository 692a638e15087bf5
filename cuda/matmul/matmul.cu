// c[m][n] (+)= sum_k a(m,k) b(k,n), then the epilogue, of numbers and of codes of fp8: the launcher. What is launched is config.h's
// decision.
#include <algorithm>

#include "kernels.h"
#include "matmul/launch.h"
#include "matmul/problem.cuh"
#include "runtime/launch.cuh"

namespace heddle::cuda {
namespace {

constexpr int64_t kMaxBlocks = 0x7fffffff;

MatmulProblem problem_of(const MatmulArgs& g, const MatmulPlan& plan) {
  MatmulProblem p{};
  p.a = g.a;
  p.b = g.b;
  p.M = g.M;
  p.N = g.N;
  p.k_last = g.K;
  p.lda = plan.lda;
  p.ldb = plan.ldb;
  for (int i = 0; i < 2; ++i) {
    p.a_batch[i] = g.a_batch[i];
    p.b_batch[i] = g.b_batch[i];
    p.c_batch[i] = g.c_batch[i];
  }
  p.batch1 = static_cast<uint32_t>(g.batch[1]);
  p.tiles_m = static_cast<uint32_t>(plan.tiles_m);
  p.tiles_n = static_cast<uint32_t>(plan.tiles_n);
  p.products = static_cast<uint32_t>(plan.products);
  p.chunks = 1;
  p.chunk_k = g.K;
  p.pieces = static_cast<uint32_t>(plan.pieces);
  p.stages = plan.stages;
  p.c = g.c;
  p.pre = g.pre;
  p.a_scale = g.a_scale;
  p.b_scale = g.b_scale;
  p.bias = g.bias;
  p.derivative = g.derivative_at != nullptr;
  p.residual = p.derivative ? g.derivative_at : g.residual;
  p.c_m = g.c_m;
  p.activation = g.activation;
  p.accumulate = g.accumulate;
  p.c_f32 = g.c_type == DType::f32;
  p.vector_stores = plan.vector_stores;
  p.box_stores = plan.box_stores;
  return p;
}

// All products, in as many launches as a grid's limit asks for.
void launch_products(const MatmulPlan& plan, MatmulProblem p, const MatmulArgs& g) {
  const int64_t each = plan.tiles_m * plan.cluster * plan.tiles_n * p.chunks;
  if (each > kMaxBlocks)
    throw OpError("a matmul of " + std::to_string(each) + " tiles is more than a launch can hold", ErrorCode::internal);
  for (int64_t first = 0; first < plan.products; first += kMaxBlocks / each) {
    p.first_product = first;
    p.products = static_cast<uint32_t>(std::min(plan.products - first, kMaxBlocks / each));
    const auto blocks = static_cast<unsigned>(p.products * each);
    if (p.turns) check(cudaMemsetAsync(p.turns, 0, plan.workspace, queue().stream), "matmul");
    switch (plan.path) {
      case MatmulPath::fma:
        launch_fma(plan, p, blocks);
        break;
      case MatmulPath::bf16:
        plan.hopper ? launch_bf16_hopper(plan, p, g) : launch_bf16(plan, p, blocks);
        break;
      case MatmulPath::f16:
        plan.hopper ? launch_f16_hopper(plan, p, g) : launch_f16(plan, p, blocks);
        break;
      case MatmulPath::tf32:
        launch_tf32(plan, p, blocks);
        break;
    }
  }
}

}  // namespace

void matmul(const MatmulArgs& args) {
  if (args.M == 0 || args.N == 0 || args.batch[0] * args.batch[1] == 0) return;
  const MatmulArgs g = flatten(args);
  const Card& card = *queue().card;
  if (g.type == DType::bf16 && !card.has_bf16())
    throw OpError("bf16 needs a GPU of compute capability 8.0 or newer, " + card.name + " has " + std::to_string(card.sm / 10) + "." +
                      std::to_string(card.sm % 10) + "; use f16 or f32",
                  ErrorCode::device);
  const MatmulPlan plan = plan_matmul(g, card);
  MatmulProblem p = problem_of(g, plan);
  if (plan.workspace && g.workspace) {
    p.turns = static_cast<uint32_t*>(g.workspace);
    p.chunks = static_cast<uint32_t>(plan.chunks);
    p.chunk_k = plan.chunk_k;
    launch_products(plan, p, g);
    return;
  }
  for (int64_t chunk = 0; chunk < plan.chunks; ++chunk) {
    p.k_first = chunk * plan.chunk_k;
    p.k_last = std::min(g.K, p.k_first + plan.chunk_k);
    p.chunk_k = p.k_last - p.k_first;
    p.accumulate = g.accumulate || chunk > 0;
    launch_products(plan, p, g);
  }
}

void fp8_matmul(const FP8MatmulArgs& args) {
  if (args.M == 0 || args.N == 0) return;
  const MatmulPlan plan = plan_fp8_matmul(args, *queue().card);
  if (plan.hopper) {
    const MatmulProblem p = problem_of(args, plan);
    return plan.path == MatmulPath::bf16 ? launch_fp8_bf16(plan, p, args) : launch_fp8_f16(plan, p, args);
  }
  MatmulArgs g = args;
  void* const a = args.workspace;
  void* const b = static_cast<char*>(a) + fp8_operand_bytes(g.M * g.K, g.type);
  fp8_dequantize({g.type, args.a_format, static_cast<const uint8_t*>(g.a), nullptr, a, g.M * g.K});
  fp8_dequantize({g.type, args.b_format, static_cast<const uint8_t*>(g.b), nullptr, b, g.N * g.K});
  g.a = a;
  g.b = b;
  matmul(g);
}

}  // namespace heddle::cuda
