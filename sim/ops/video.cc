// 9.7.18 Video Instructions: two halves or four bytes at once, with saturation, or summed onto c. Without selectors and masks of lanes.
#include <algorithm>

#include "sim/machine/lanes.h"

namespace sim {
namespace {

enum class Video : uint8_t { add, sub, avrg, absdiff, min, max, set };
enum Compare : uint8_t { eq, ne, lt, le, gt, ge };
constexpr const char* kCompare[] = {"eq", "ne", "lt", "le", "gt", "ge"};

// Instr::flags.
constexpr uint64_t kSignedD = 1, kSignedA = 2, kSignedB = 4, kSaturate = 8, kAccumulate = 16;
constexpr int kCompareShift = 8;

bool compare(Compare c, int a, int b) {
  switch (c) {
    case eq:
      return a == b;
    case ne:
      return a != b;
    case lt:
      return a < b;
    case le:
      return a <= b;
    case gt:
      return a > b;
    default:
      return a >= b;
  }
}

template <Video Op>
int combine(int a, int b, uint64_t flags) {
  if constexpr (Op == Video::add) return a + b;
  if constexpr (Op == Video::sub) return a - b;
  if constexpr (Op == Video::avrg) return a + b >= 0 ? (a + b + 1) >> 1 : (a + b) >> 1;
  if constexpr (Op == Video::absdiff) return std::abs(a - b);
  if constexpr (Op == Video::min) return std::min(a, b);
  if constexpr (Op == Video::max) return std::max(a, b);
  return compare(Compare(flags >> kCompareShift), a, b);
}

template <Video Op, int Bits>
void video_run(Warp& w, const Instr& i) {
  constexpr uint32_t kMask = (1u << Bits) - 1;
  auto *d = w.reg<uint32_t>(i.r[0]), *a = w.reg<uint32_t>(i.r[1]), *b = w.reg<uint32_t>(i.r[2]), *c = w.reg<uint32_t>(i.r[3]);
  auto part = [](uint32_t v, int shift, bool is_signed) {
    const int x = int(v >> shift & kMask);
    return is_signed && x >> (Bits - 1) ? x - (1 << Bits) : x;
  };
  const int low = i.flags & kSignedD ? -(1 << (Bits - 1)) : 0, high = low + int(kMask);
  each_lane(w.mask, [&](int l) {
    uint32_t merged = 0, sum = c[l];
    for (int shift = 0; shift < 32; shift += Bits) {
      int t = combine<Op>(part(a[l], shift, i.flags & kSignedA), part(b[l], shift, i.flags & kSignedB), i.flags);
      if (i.flags & kSaturate) t = std::clamp(t, low, high);
      merged |= (uint32_t(t) & kMask) << shift;
      sum += uint32_t(t);
    }
    d[l] = i.flags & kAccumulate ? sum : merged;
  });
}

template <Video Op, int Bits>
void video(Decoder& d) {
  uint64_t& flags = d.instr.flags;
  auto sign = [&](uint64_t flag) {
    const Type t = d.take_type();
    if (t != Type::u32 && t != Type::s32) d.unsupported("type");
    flags |= t == Type::s32 ? flag : 0;
  };
  if constexpr (Op != Video::set) sign(kSignedD);
  sign(kSignedA);
  sign(kSignedB);
  if constexpr (Op == Video::set) {
    size_t c = 0;
    while (c < std::size(kCompare) && !d.take(kCompare[c])) ++c;
    if (c == std::size(kCompare)) d.unsupported("comparison");
    flags |= uint64_t(c) << kCompareShift;
  } else {
    flags |= d.take("sat") ? kSaturate : 0;
  }
  flags |= d.take("add") ? kAccumulate : 0;
  d.emit(video_run<Op, Bits>, {d.dest(0), d.source(1, Type::b32), d.source(2, Type::b32), d.source(3, Type::b32)});
}

#define VIDEO(op, section, forms) \
  {"v" #op "2", video<Video::op, 16>, section, forms}, { "v" #op "4", video<Video::op, 8>, section, forms }
constexpr Family kFamilies[] = {
    VIDEO(add, "9.7.18", ".u32 .s32, .sat, .add; whole operands"),
    VIDEO(sub, "9.7.18", ".u32 .s32, .sat, .add; whole operands"),
    VIDEO(avrg, "9.7.18", ".u32 .s32, .sat, .add; whole operands"),
    VIDEO(absdiff, "9.7.18", ".u32 .s32, .sat, .add; whole operands"),
    VIDEO(min, "9.7.18", ".u32 .s32, .sat, .add; whole operands"),
    VIDEO(max, "9.7.18", ".u32 .s32, .sat, .add; whole operands"),
    VIDEO(set, "9.7.18", ".u32 .s32, all comparisons, .add; whole operands"),
};
#undef VIDEO

}  // namespace

std::span<const Family> video_families() { return kFamilies; }

}  // namespace sim
