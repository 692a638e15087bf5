// How the CUDA launchers cut arrays of any strides: collapsed dimensions, parts that 32-bit counts reach, division by multiplication.
// Shapes of billions of elements are only counted here, never allocated.
#include "../../cuda/common/nest.h"

#include <set>

#include "../../cuda/common/divider.cuh"
#include "views.h"

using namespace heddle;
using namespace heddle::cuda;
using namespace check;

namespace {

View view_of(const Shape& shape, const Shape& strides) { return check::view(nullptr, DType::f32, shape, strides); }

template <int N>
int64_t offset_in(const Nest<N>& nest, int array, int64_t i) {
  int64_t at = nest.offset[array];
  for (int d = 0; d < nest.rank; ++d) {
    at += i % nest.shape[d] * nest.stride[array][d];
    i /= nest.shape[d];
  }
  return at;
}

void test_collapse() {
  const View dense = view_of({4, 5, 6}, {30, 6, 1}), row = view_of({4, 5, 6}, {0, 0, 1}), turned = view_of({4, 5, 6}, {1, 24, 4});
  const Nest<2> same({&dense, &dense}), bias({&dense, &row});
  CHECK(same.rank == 1 && same.shape[0] == 120 && same.stride[0][0] == 1);
  CHECK(bias.rank == 2 && bias.shape[0] == 6 && bias.shape[1] == 20 && bias.stride[0][1] == 6 && bias.stride[1][1] == 0);
  const Nest<2> written_turned({&turned, &dense});  // rows run along what is written
  CHECK(written_turned.stride[0][0] == 1 && written_turned.shape[0] == 4 && written_turned.stride[1][0] == 30);
  const View single = view_of({}, {}), ones = view_of({1, 1}, {7, 9});
  CHECK(Nest<1>({&single}).elements() == 1 && Nest<1>({&ones}).rank == 1);
  const View nothing = view_of({3, 0, 2}, {0, 2, 1});
  int parts = 0;
  Nest<1>({&nothing}).each_part(10, [&](const Nest<1>&) { ++parts; });
  CHECK(parts == 0);
}

// Together the parts hold every pair of elements that the whole does, once.
void test_parts(Rng& rng) {
  for (int round = 0; round < 300; ++round) {
    const Shape shape = random_shape(rng, 4, 12), a = random_strides(rng, shape), b = random_strides(rng, shape, true);
    const View first = view_of(shape, a), second = view_of(shape, b);
    const int64_t limit = 1 + rng.below(200);
    std::set<std::pair<int64_t, int64_t>> expected, found;
    for (int64_t i = 0; i < elements(shape); ++i) expected.emplace(check::offset(shape, a, i), check::offset(shape, b, i));
    bool fits = true;
    int64_t total = 0;
    Nest<2>({&first, &second}).each_part(limit, [&](const Nest<2>& part) {
      fits = fits && part.elements() <= limit;
      total += part.elements();
      for (int64_t i = 0; i < part.elements(); ++i) found.emplace(offset_in(part, 0, i), offset_in(part, 1, i));
    });
    CHECK(fits && total == elements(shape) && found == expected);
  }
}

void test_billions() {
  const View logits = view_of({65536, 50304}, {50304, 1}), column = view_of({65536, 50304}, {1, 0});
  int64_t total = 0;
  bool fits = true, aligned = true, inside = true;
  Nest<2>({&logits, &column}).each_part(kPart, [&](const Nest<2>& part) {
    total += part.elements();
    fits = fits && part.elements() <= kPart;
    aligned = aligned && part.offset[0] % 64 == 0;
    inside = inside && part.offset[0] + (part.shape[1] - 1) * 50304 + part.shape[0] <= int64_t{65536} * 50304;
  });
  CHECK(total == int64_t{65536} * 50304 && fits && aligned && inside);
}

void test_divider(Rng& rng) {
  bool right = true;
  for (int i = 0; i < 2000000; ++i) {
    uint32_t d = i % 5 ? static_cast<uint32_t>((rng.next() & 0x7fffffff) >> rng.below(31)) : 1u << rng.below(32);
    if (d == 0) d = 1;
    auto n = static_cast<uint32_t>(rng.next() & 0x7fffffff);
    if (i % 3 == 0) n = n / d * d;
    if (i % 7 == 0 && n) --n;  // where a quotient ends
    right = right && Divider(d).divide(n) == n / d;
  }
  CHECK(right);
}

}  // namespace

int main() {
  backend();  // skips where the level is missing, like every native test
  Rng rng(11);
  test_collapse();
  test_parts(rng);
  test_billions();
  test_divider(rng);
  return result();
}
