// Embedding rows and the table's gradient against plain loops: both are exact.
#include "check.h"

using namespace heddle;
using check::Floats;
using check::Ints;
using check::Rng;

namespace {

void run_case(int64_t B, int64_t T, int64_t V, int64_t C, uint64_t seed) {
  const Backend& k = check::backend();
  Rng rng(seed);
  const int64_t n = B * T, first = rng.below(5);
  const std::string name =
      check::text("B=%d T=%d V=%d C=%d", static_cast<int>(B), static_cast<int>(T), static_cast<int>(V), static_cast<int>(C));
  Floats table(V * C), positions((first + T) * C), out(n * C), expected(n * C), dy(n * C), d(V * C), sums(V * C);
  Ints ids(n);
  table.normal(rng);
  positions.normal(rng);
  dy.normal(rng);
  for (int32_t& id : ids) id = static_cast<int32_t>(rng.below(rng.below(2) ? V : 1 + V / 8));

  for (const bool with_positions : {false, true}) {
    out.poison();
    k.embedding.run({DType::f32, table.data(), with_positions ? positions.data() : nullptr, ids.data(), out.data(), n, C, V, T, first});
    for (int64_t i = 0; i < n; ++i)
      for (int64_t c = 0; c < C; ++c)
        expected[i * C + c] = table[ids[i] * C + c] + (with_positions ? positions[(first + i % T) * C + c] : 0.0f);
    CHECK_MSG(out.same_bits(expected) && out.guarded(), "%s positions=%d", name.c_str(), with_positions);
  }

  for (const bool accumulate : {false, true}) {
    if (accumulate) d.normal(rng);
    for (int64_t i = 0; i < V * C; ++i) sums[i] = accumulate ? d[i] : 0;
    for (int64_t i = 0; i < n; ++i)
      for (int64_t c = 0; c < C; ++c) sums[ids[i] * C + c] += dy[i * C + c];
    k.embedding_backward.run({DType::f32, dy.data(), ids.data(), d.data(), n, C, V, accumulate, nullptr});
    CHECK_MSG(d.same_bits(sums) && d.guarded(), "gradient, %s accumulate=%d", name.c_str(), accumulate);
  }
}

void run_errors() {
  const Backend& k = check::backend();
  for (const int32_t bad : {7, -1, 2147483647}) {
    Floats table(7 * 3), out(4 * 3);
    Ints ids(4);
    table.fill(1);
    ids.fill(6);
    ids[1] = bad;
    const std::string expected = check::text("embedding: ids[1] must be within [0, 7), got %d", bad);
    CHECK(check::error_of([&] { k.embedding.run({DType::f32, table.data(), nullptr, ids.data(), out.data(), 4, 3, 7, 4, 0}); }) ==
          expected);
    CHECK(check::error_of([&] { k.embedding_backward.run({DType::f32, out.data(), ids.data(), table.data(), 4, 3, 7, true, nullptr}); }) ==
          expected);
  }
}

}  // namespace

int main() {
  uint64_t seed = 1;
  for (const int64_t C : {1, 3, 7, 16, 32, 33, 64, 100, 768, 1030})
    for (const int64_t V : {1, 7, 65}) run_case(1 + seed % 3, 1 + (seed * 7) % 40, V, C, seed), ++seed;
  run_case(2, 64, 50257, 17, seed++);
  run_case(2, 512, 65, 48, seed++);
  run_case(0, 1, 5, 4, seed++);  // no ids: zeros
  run_errors();
  return check::result();
}
