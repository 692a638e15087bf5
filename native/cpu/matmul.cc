// c[m][n] (+)= sum_k a(m,k) b(k,n), f32: packed panels and register tiles (matmul_blocks.h), and a path for few rows.
//
// Bits: k is cut into blocks of kBlock, for every shape and instruction set. A block's sum is one chain of fma from 0 in
// order of k; c takes the blocks' sums in order: ((c + s0) + s1) + ..., starting with c when accumulating, with s0 otherwise.
// So an element depends on its row of a, its column of b and K: not on M, N, the threads or the width of the vectors.
//
// Assumes: outputs overlap no input. pre, residual and derivative_at hold one dense M x N matrix per product of the batch.
#include "cpu/host/bf16.h"
#include "cpu/matmul_blocks.h"
#include "cpu/matmul_decode.h"

namespace heddle::cpu::HEDDLE_ISA {
namespace {

// A batch dimension along which b stays and the rows of a and c go on is more rows.
MatmulArgs flatten(MatmulArgs g) {
  for (int d = 1; d >= 0; --d) {
    if (g.batch[d] == 1) continue;
    if (g.b_batch[d] != 0 || g.a_batch[d] != g.M * g.a_m || g.c_batch[d] != g.M * g.c_m) break;
    g.M *= g.batch[d];
    g.batch[d] = 1;
  }
  return g;
}

void run_decode(const MatmulArgs& g, int64_t products) {
  constexpr int64_t grain = 32, least = int64_t{1} << 16;  // columns, floats of W
  const int64_t cols = ceil_div(g.N, wanted_items()), least_cols = least / g.K;
  const int64_t piece = ceil_div(cols > least_cols ? cols : least_cols, grain) * grain, pieces = ceil_div(g.N, piece);
  const Decode run = g.b_n == 1 ? decode_straight : kDecode.rows[g.M - 1];
  parallel(products * pieces, [&](int64_t item) {
    const Product p = product(g, item / pieces);
    const int64_t low = item % pieces * piece;
    run(g, kBlock, p.a, p.b, p.c, p.pre, p.residual, low, smaller(low + piece, g.N));
  });
}

}  // namespace

void matmul(const MatmulArgs& args) {
  const MatmulArgs g = flatten(args);
  const int64_t products = g.batch[0] * g.batch[1];
  if (g.M == 0 || g.N == 0 || products == 0) return;
  if (g.M <= kDecodeRows && g.K >= VW && (g.b_n == 1 || (g.a_k == 1 && g.b_k == 1))) return run_decode(g, products);
  const MatmulKernel bf16 = g.precision == Precision::bf16 || g.precision == Precision::fp8 ? bf16_kernel().matmul : nullptr;
  bf16 ? bf16(g) : run_blocks<F32>(g);
}

}  // namespace heddle::cpu::HEDDLE_ISA
