// What the CUDA matmul chooses, without a GPU: path, tile, loads, chunks of K.
#include "check.h"
#include "matmul/config.h"

using namespace heddle;
using namespace heddle::cuda;

namespace {

Card card_of(int sm, int multiprocessors, size_t shared_kib) {
  Card c{};
  c.sm = sm;
  c.multiprocessors = multiprocessors;
  c.shared_per_multiprocessor = c.shared_per_block = shared_kib << 10;
  return c;
}
Card with_hopper_code(Card c) {
  c.hopper = true;
  return c;
}
const Card kT4 = card_of(75, 40, 64), kA100 = card_of(80, 108, 164), k3090 = card_of(86, 82, 100), kH100 = card_of(90, 132, 228);
const Card kHopper = with_hopper_code(kH100);

alignas(16) char memory[64];

// X (M x K) times W^T, W (N x K): both K-major.
MatmulArgs linear(DType type, int64_t M, int64_t N, int64_t K) {
  MatmulArgs g{};
  g.type = g.c_type = type;
  g.a = g.b = memory;
  g.c = memory;
  g.M = M;
  g.N = N;
  g.K = K;
  g.a_m = g.b_n = K;
  g.a_k = g.b_k = 1;
  g.c_m = N;
  g.batch[0] = g.batch[1] = 1;
  return g;
}

// dY^T (M x K) times X (K x N), K rows: the gradient of a weight.
MatmulArgs gradient(DType type, int64_t M, int64_t N, int64_t K) {
  MatmulArgs g = linear(type, M, N, K);
  g.c_type = DType::f32;
  g.a_m = g.b_n = 1;
  g.a_k = M;
  g.b_k = N;
  return g;
}

void is(bool ok, const char* what, int line) { check::report(ok, __FILE__, line, what); }
#define IS(...) is((__VA_ARGS__), #__VA_ARGS__, __LINE__)

void paths() {
  IS(plan_matmul(linear(DType::bf16, 64, 64, 64), kA100).path == MatmulPath::bf16);
  IS(plan_matmul(linear(DType::f16, 64, 64, 64), kT4).path == MatmulPath::f16);
  MatmulArgs g = linear(DType::f32, 64, 64, 64);
  IS(plan_matmul(g, kA100).path == MatmulPath::fma);
  g.precision = Precision::tf32;
  IS(plan_matmul(g, kA100).path == MatmulPath::tf32);
  IS(plan_matmul(g, kT4).path == MatmulPath::fma);  // no such units: in full
}

void layouts() {
  MatmulPlan p = plan_matmul(linear(DType::bf16, 64, 40, 96), kA100);
  IS(p.a_k_major && p.b_k_major && p.lda == 96 && p.ldb == 96);
  p = plan_matmul(gradient(DType::bf16, 64, 40, 96), kA100);
  IS(!p.a_k_major && !p.b_k_major && p.lda == 64 && p.ldb == 40);
  p = plan_matmul(linear(DType::bf16, 1, 40, 96), kA100);
  IS(p.lda == 0 && p.ldb == 96);               // one row: no stride to another
  MatmulArgs g = linear(DType::f32, 8, 1, 5);  // both strides of b are 1: the dimension that has a length decides
  g.b_n = 1;
  IS(plan_matmul(g, kA100).b_k_major);
  g = linear(DType::f32, 8, 5, 1);
  g.b_n = g.b_k = 1;
  IS(!plan_matmul(g, kA100).b_k_major);
}

void alignment() {
  const auto loads = [](const MatmulArgs& g) { return plan_matmul(g, kA100).vector_loads; };
  const auto stores = [](const MatmulArgs& g) { return plan_matmul(g, kA100).vector_stores; };
  MatmulArgs g = linear(DType::bf16, 64, 64, 64);
  IS(loads(g) && stores(g));
  IS(loads(linear(DType::bf16, 64, 63, 64)) && !stores(linear(DType::bf16, 64, 63, 64)));
  IS(!loads(linear(DType::bf16, 64, 64, 63)) && stores(linear(DType::bf16, 64, 64, 63)));
  g.K = 61;  // ragged, in rows that are aligned
  IS(loads(g));
  g = linear(DType::bf16, 64, 64, 64);
  g.a = memory + 2;
  IS(!loads(g));
  g = linear(DType::bf16, 64, 64, 64);
  g.c = memory + 2;
  IS(!stores(g));
  g = linear(DType::bf16, 64, 64, 64);
  g.bias = memory + 8;
  IS(!stores(g));
  g = linear(DType::bf16, 64, 64, 64);
  g.derivative_at = memory + 2;
  IS(!stores(g));
  g = linear(DType::bf16, 64, 64, 64);
  g.b_batch[1] = 12;  // of a batch of one: never taken
  IS(loads(g));
  g.batch[1] = 2;
  IS(!loads(g));
  g = linear(DType::bf16, 1, 64, 61);  // one row of a at any stride; but b has 64
  IS(!loads(g));
  g.b_n = 64;
  IS(loads(g));
  g = linear(DType::f32, 64, 64, 4);
  g.precision = Precision::tf32;
  IS(loads(g));  // 4 floats are 16 bytes
}

void tiles() {
  const auto tile = [](const MatmulArgs& g, const Card& card) { return plan_matmul(g, card).tile_n; };
  IS(tile(linear(DType::bf16, 65536, 2304, 768), kH100) == 128);
  IS(tile(linear(DType::bf16, 8, 2304, 768), kH100) == 64);
  IS(tile(linear(DType::bf16, 512, 768, 768), kH100) == 64);    // 24 large tiles would leave most multiprocessors idle
  IS(tile(linear(DType::bf16, 2048, 768, 768), kA100) == 128);  // 96 of 108
  IS(tile(linear(DType::bf16, 1536, 768, 768), kA100) == 64);   // 72: three small ones each
  IS(tile(linear(DType::f32, 2048, 768, 768), kA100) == 64);
  IS(tile(linear(DType::bf16, 65536, 2304, 767), kH100) == 64);  // not aligned
  IS(tile(linear(DType::f32, 65536, 2304, 767), kH100) == 128);
  const MatmulPlan p = plan_matmul(linear(DType::bf16, 300, 200, 64), card_of(80, 1, 164));
  IS(p.tile_m == 128 && p.tile_n == 128 && p.tiles_m == 3 && p.tiles_n == 2 && p.products == 1);

  // two blocks of stages fit a multiprocessor
  const auto stages = [](const MatmulArgs& g, const Card& card) { return plan_matmul(g, card).stages; };
  const MatmulArgs large = linear(DType::bf16, 65536, 2304, 768), ragged = linear(DType::bf16, 65536, 2304, 767);
  IS(stages(large, kA100) == 4 && stages(large, kH100) == 4 && stages(large, k3090) == 3);
  IS(stages(linear(DType::f16, 65536, 2304, 768), kT4) == 2 && stages(ragged, kA100) == 2);
  for (const Card& card : {kT4, kA100, k3090, kH100})
    for (const DType type : {DType::bf16, DType::f16, DType::f32})
      for (const int64_t M : {1, 4096, 65536})
        for (const int64_t K : {64, 63}) {
          MatmulArgs g = linear(type, M, 768, K);
          g.precision = Precision::tf32;
          const MatmulPlan q = plan_matmul(g, card);
          IS(q.shared <= card.shared_per_block && 2 * q.shared <= card.shared_per_multiprocessor);
        }
}

// The bits of a row do not depend on M: only the chunks of K change them.
void chunks() {
  for (const int64_t M : {1, 8, 300, 65536}) {
    const MatmulPlan p = plan_matmul(linear(DType::bf16, M, 768, 65536), kH100);
    IS(p.chunks == 1 && p.workspace == 0);
  }
  for (const int64_t K : {1, 4095, 4096, 8191, 8200, 16384, 32768, 65536, 1000003})
    for (const int64_t M : {8, 768, 50304})
      for (const int64_t N : {8, 3072}) {
        const MatmulPlan p = plan_matmul(gradient(DType::bf16, M, N, K), kH100), q = plan_matmul(gradient(DType::bf16, 16, 16, K), kA100);
        IS(p.chunks == q.chunks && p.chunk_k == q.chunk_k);
        IS(p.chunks * p.chunk_k >= K && (p.chunks - 1) * p.chunk_k < K);                                // all of K, and no chunk empty
        IS(p.workspace == (p.chunks > 1 ? static_cast<size_t>(4 * (1 + p.tiles_m * p.tiles_n)) : 0u));  // the counter, and the tiles' turns
        const MatmulPlan r = plan_matmul(gradient(DType::bf16, M, N, K), kHopper);
        IS(r.hopper && r.chunks == p.chunks && r.chunk_k == p.chunk_k && r.chunk_k % 64 == 0 + (r.chunks == 1) * (K % 64));
        IS(r.workspace == (r.chunks > 1 ? static_cast<size_t>(4 * (1 + r.tiles_m * r.tiles_n * r.cluster * 8)) : 0u));
      }
  IS(plan_matmul(gradient(DType::bf16, 768, 768, 65536), kH100).chunks == 12);
  IS(plan_matmul(gradient(DType::bf16, 768, 768, 16384), kH100).chunks == 8);
  IS(plan_matmul(gradient(DType::bf16, 768, 768, 2048), kH100).chunks == 1);
  MatmulArgs g = gradient(DType::bf16, 768, 768, 65536);
  g.c_type = DType::bf16;  // partial sums would be rounded
  IS(plan_matmul(g, kH100).chunks == 1);
  g = gradient(DType::bf16, 768, 768, 65536);
  g.bias = memory;  // the epilogue follows the whole sum
  IS(plan_matmul(g, kH100).chunks == 1);
}

// Whether Hopper's kernel computes goes by types and strides: never by M, N or K, which would change the bits of a row.
void hopper() {
  const auto hopper = [](const MatmulArgs& g) { return plan_matmul(g, kHopper).hopper; };
  for (const DType type : {DType::bf16, DType::f16})
    for (const int64_t M : {1, 8, 64, 65536})
      for (const int64_t N : {8, 768, 50304}) {
        IS(hopper(linear(type, M, N, 768)) && hopper(gradient(type, 8 * M, N, 65536)));
        IS(!plan_matmul(linear(type, M, N, 768), kH100).hopper);  // this build has no code for it
        IS(!hopper(linear(type, M, N, 764)));                     // rows at multiples of 8 bytes
      }
  IS(!hopper(linear(DType::f32, 768, 768, 768)));
  IS(hopper(linear(DType::bf16, 64, 50257, 768)));  // N of c is anything
  IS(!hopper(gradient(DType::bf16, 768, 50257, 64)));
  MatmulArgs g = linear(DType::bf16, 64, 64, 61);
  IS(!hopper(g));
  g.a_m = g.b_n = 64;
  IS(hopper(g));  // a ragged K in rows that are aligned
  g.M = 1;
  IS(hopper(g));
  g.a_m = 61;
  IS(!hopper(g));  // as with more rows
  g = linear(DType::bf16, 64, 64, 64);
  g.a_m = 0;
  IS(!hopper(g));  // the same row again and again
  g = linear(DType::bf16, 64, 64, 64);
  g.batch[1] = 3;
  g.a_batch[1] = 64 * 64;
  IS(hopper(g));  // one b for all
  g.a_batch[1] = 4;
  IS(!hopper(g));
  g = linear(DType::bf16, 64, 64, 64);
  g.a = memory + 8;
  IS(!hopper(g));

  // what leaves by the copy engine: 16 bits, in aligned rows, not added to anything, and one more tensor beside c at most
  const auto boxes = [](const MatmulArgs& h) { return plan_matmul(h, kHopper).box_stores; };
  g = linear(DType::bf16, 64, 64, 64);
  IS(boxes(g));
  g.residual = memory;
  IS(boxes(g));
  g.pre = memory;
  IS(!boxes(g));
  g.residual = nullptr;
  IS(boxes(g));
  g.derivative_at = memory;
  IS(boxes(g));
  g.accumulate = true;
  IS(!boxes(g));
  IS(!boxes(linear(DType::bf16, 64, 50257, 64)));
  IS(!boxes(gradient(DType::bf16, 64, 64, 64)));

  MatmulPlan p = plan_matmul(linear(DType::bf16, 300, 300, 64), kHopper);
  IS(p.cluster == 2 && p.tile_m == 128 && p.tile_n == 64 && p.tiles_m == 2 && p.tiles_n == 5 && p.threads == 384);
  p = plan_matmul(linear(DType::bf16, 128, 300, 64), kHopper);
  IS(p.cluster == 1 && p.tiles_m == 1);
}

// Of a product whose operands Hopper's copy engine takes, by shape and card.
void hopper_tiles() {
  const auto is_tile = [](const MatmulArgs& g, int m, int n) {
    const MatmulPlan p = plan_matmul(g, kHopper);
    return p.tile_m == m && p.tile_n == n && kHopperTiles[p.hopper_tile].m == m && kHopperTiles[p.hopper_tile].n == n;
  };
  for (const int64_t N : {768, 2304, 3072, 50304}) IS(is_tile(linear(DType::bf16, 65536, N, 768), 128, 256));
  IS(is_tile(linear(DType::bf16, 65536, 128, 768), 128, 128));     // half of a wide one would be empty
  IS(is_tile(gradient(DType::bf16, 3072, 768, 65536), 128, 256));  // 72 tiles, 12 chunks each: 6.5 waves
  IS(is_tile(gradient(DType::bf16, 768, 768, 65536), 128, 256));   // 18 tiles: 1.6 waves, of smaller ones 3.3
  IS(is_tile(gradient(DType::bf16, 768, 768, 16384), 128, 128));   // 8 chunks each: 1.1 waves, of smaller ones 2.2
  IS(is_tile(linear(DType::bf16, 512, 768, 768), 128, 64));        // 48 blocks of 132
  IS(is_tile(linear(DType::bf16, 8, 768, 768), 128, 64));
  IS(is_tile(linear(DType::bf16, 64, 50304, 768), 64, 128));  // half of 128 rows would be empty

  // A card that was measured is looked up by its name.
  constexpr HopperTuning kCards[] = {{"NVIDIA H100 SXM", {{9, 9}, {9, 9}, {9, 9}, {1, 1}}}, {"", {{1, 1}, {9, 9}, {9, 9}, {9, 9}}}};
  IS(&tuning_of("NVIDIA H100 SXM", kCards) == &kCards[0] && &tuning_of("NVIDIA H200", kCards) == &kCards[1]);
  IS(hopper_tile_of(512, 512, 1, 12, 132, kCards[0]) == 3 && hopper_tile_of(512, 512, 1, 12, 132, kCards[1]) == 0);
  // Waves of blocks, in clusters of two: 3 tiles below each other are 4 blocks.
  constexpr HopperTuning kEqual = {"", {{1, 0}, {1, 0}, {1, 0}, {1, 0}}};
  IS(hopper_tile_of(384, 256, 1, 10, 4, kEqual) == 0);  // one wave; of smaller tiles two
  constexpr HopperTuning kSmall = {"", {{4, 0}, {2, 0}, {1.5, 0}, {4, 0}}};
  IS(hopper_tile_of(384, 256, 1, 10, 4, kSmall) == 0 && hopper_tile_of(384, 256, 1, 10, 16, kSmall) == 2);
  IS(hopper_tile_of(384, 256, 1, 10, 8, kSmall) == 1);  // 2 for one wave, 1.5 for each of two

  IS(forced_hopper_tile(nullptr) == -1 && forced_hopper_tile("") == -1 && forced_hopper_tile("128x96") == -1);
  IS(forced_hopper_tile("128x256") == 0 && forced_hopper_tile("64x128") == 3 && forced_hopper_tile("64x128x64") == -1);
}

// Codes: which card has a kernel, and its tiles; what is taken out otherwise.
void codes() {
  const auto of = [](DType type, int64_t M, int64_t N, int64_t K) {
    FP8MatmulArgs g{};
    static_cast<MatmulArgs&>(g) = linear(type, M, N, K);
    return g;
  };
  const auto hopper = [&](DType type, int64_t K, const Card& card) { return plan_fp8_matmul(of(type, 64, 64, K), card).hopper; };
  for (const DType type : {DType::bf16, DType::f16}) {
    IS(hopper(type, 16, kHopper) && hopper(type, 4096, kHopper));
    IS(!hopper(type, 24, kHopper) && !hopper(type, 7, kHopper));
    IS(!hopper(type, 64, kH100) && !hopper(type, 64, kA100));
  }
  IS(!hopper(DType::f32, 64, kHopper));
  FP8MatmulArgs g = of(DType::bf16, 64, 64, 64);
  g.b = memory + 8;
  IS(!plan_fp8_matmul(g, kHopper).hopper);
  for (const int64_t N : {64, 768, 50304})
    for (const int64_t M : {8, 64, 512, 65536}) {
      const MatmulPlan p = plan_fp8_matmul(of(DType::bf16, M, N, 768), kHopper);
      IS(p.hopper_tile >= kFirstFP8Tile && p.tile_m == kHopperTiles[p.hopper_tile].m && p.tile_n == kHopperTiles[p.hopper_tile].n);
      IS(p.tile_m * p.tile_n <= 128 * 128 && p.cluster == (M > p.tile_m ? 2 : 1));
    }
  IS(plan_fp8_matmul(of(DType::bf16, 65536, 768, 768), kHopper).tile_n == 128);
  IS(fp8_operand_bytes(8, DType::bf16) == 16 && fp8_operand_bytes(9, DType::bf16) == 32 && fp8_operand_bytes(5, DType::f32) == 32);
}

void flattening() {
  MatmulArgs g = linear(DType::bf16, 10, 64, 64);
  g.batch[0] = 3;
  g.batch[1] = 4;
  g.a_batch[1] = 10 * 64;
  g.a_batch[0] = 4 * g.a_batch[1];
  g.c_batch[1] = 10 * 64;
  g.c_batch[0] = 4 * g.c_batch[1];
  MatmulArgs f = flatten(g);
  IS(f.M == 120 && f.batch[0] == 1 && f.batch[1] == 1);  // one matrix b: the rows go on
  g.b_batch[0] = 64 * 64;
  f = flatten(g);
  IS(f.M == 40 && f.batch[0] == 3 && f.batch[1] == 1);
  g.b_batch[1] = 16;
  f = flatten(g);
  IS(f.M == 10 && f.batch[0] == 3 && f.batch[1] == 4);
}

}  // namespace

int main() {
  paths();
  codes();
  layouts();
  alignment();
  tiles();
  chunks();
  hopper();
  hopper_tiles();
  flattening();
  return check::result();
}
