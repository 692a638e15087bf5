// Numbers of many blocks at once against their definition, at the width of the baseline: around the one place where the low half of
// the counter wraps too, which no array that fits into a test reaches.
#define HEDDLE_ISA tested
#include "cpu/philox.h"

#include "check.h"

using namespace heddle;
using namespace heddle::cpu::tested;

namespace {

template <int N>
void test_blocks(uint64_t block) {
  const PhiloxKeys keys(0xa4093822, 0x299f31d0);
  Philox draws[N];
  philox_blocks(keys, block, 7, 11, draws);
  int wrong = 0;
  for (int n = 0; n < N; ++n) {
    interleave(draws[n].x);
    for (int i = 0; i < 4 * VW; ++i) {
      const Random4 words = philox(0xa4093822, 0x299f31d0, block + static_cast<uint64_t>(n * VW + i / 4), 7, 11);
      wrong += draws[n].x[i / VW][i % VW] != words.x[i % 4];
    }
  }
  CHECK_MSG(wrong == 0, "%d of %d blocks from %llu: %d words are wrong", N, N * VW, static_cast<unsigned long long>(block), wrong);
}

}  // namespace

int main() {
  for (const uint64_t high : {uint64_t{0}, uint64_t{1} << 32, uint64_t{5} << 40})
    for (int64_t near = -4 * 4 * VW; near <= 4 * VW; ++near) {
      if (high == 0 && near < 0) continue;
      const uint64_t block = high + static_cast<uint64_t>(near);
      test_blocks<1>(block);
      test_blocks<2>(block);
      test_blocks<4>(block);
    }
  return check::result();
}
