// A program for plans.ts: how the CUDA backend computes products of bf16 on a card that need not be here.
//   plans SM MULTIPROCESSORS SHARED_KIB    of each line `KIND M N K` that it reads it prints `TILE_M TILE_N CHUNKS CHUNK_K`
// KIND: forward, X W^T; dX, dY W; dW, dY^T X into f32. SHARED_KIB: of a multiprocessor.
#include <iostream>
#include <string>

#include "matmul/config.h"

using namespace heddle;
using namespace heddle::cuda;

namespace {

alignas(16) char memory[16];  // where every operand lies: aligned, and never read

MatmulArgs product(const std::string& kind, int64_t M, int64_t N, int64_t K) {
  const bool rows = kind == "dW";
  MatmulArgs g{};
  g.type = DType::bf16;
  g.c_type = rows ? DType::f32 : DType::bf16;
  g.a = g.b = g.c = memory;
  g.M = M;
  g.N = N;
  g.K = K;
  g.a_m = rows ? 1 : K;
  g.a_k = rows ? M : 1;
  g.b_k = kind == "forward" ? 1 : N;
  g.b_n = kind == "forward" ? K : 1;
  g.c_m = N;
  g.batch[0] = g.batch[1] = 1;
  return g;
}

}  // namespace

int main(int count, char** arguments) {
  if (count != 4) return 1;
  Card card{};
  card.sm = std::stoi(arguments[1]);
  card.multiprocessors = std::stoi(arguments[2]);
  card.shared_per_multiprocessor = card.shared_per_block = std::stoul(arguments[3]) << 10;
  card.hopper = card.sm == 90;
  std::string kind;
  for (int64_t M, N, K; std::cin >> kind >> M >> N >> K;) {
    const MatmulPlan p = plan_matmul(flatten(product(kind, M, N, K)), card);
    std::cout << p.tile_m << ' ' << p.tile_n << ' ' << p.chunks << ' ' << p.chunk_k << '\n';
  }
}
