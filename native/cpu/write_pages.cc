// New keys or values into the pages where attention finds them (WritePagesArgs).
#include "core/error.h"
#include "cpu/kernels.h"

namespace heddle::cpu::HEDDLE_ISA {
namespace {

constexpr int64_t kPiece = 1 << 14;  // elements that one item copies

}  // namespace

void write_pages(const WritePagesArgs& a) {
  for (int64_t i = 0; i < a.n; ++i) {
    if (a.places[i] >= 0 && a.places[i] < a.count * a.size) continue;
    char message[128];
    __builtin_snprintf(message, sizeof message, "writePages: places[%lld] must be within [0, %lld), got %d", static_cast<long long>(i),
                       static_cast<long long>(a.count * a.size), a.places[i]);
    throw_op_error(message);
  }
  const auto element = static_cast<int64_t>(size_of(a.type));
  const int64_t row = a.H * a.D;
  parallel_range(a.n, row < kPiece ? kPiece / row : 1, [&](int64_t low, int64_t high) {
    for (int64_t i = low; i < high; ++i) {
      const int64_t page = a.places[i] / a.size, at = a.places[i] % a.size;
      char* to = static_cast<char*>(a.pages) + (page * a.pages_stride[0] + at * a.pages_stride[1]) * element;
      const char* from = static_cast<const char*>(a.x) + (i / a.T * a.x_stride[0] + i % a.T * a.x_stride[1]) * element;
      for (int64_t h = 0; h < a.H; ++h)
        __builtin_memcpy(to + h * a.pages_stride[2] * element, from + h * a.x_stride[2] * element, static_cast<size_t>(a.D * element));
    }
  });
}

}  // namespace heddle::cpu::HEDDLE_ISA
