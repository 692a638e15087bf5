// 9.7.9 mov, cvta.
#include <chrono>

#include "sim/machine/lanes.h"

namespace sim {
namespace {

template <class L>
void mov_run(Warp& w, const Instr& i) {
  auto *d = w.reg<L>(i.r[0]), *a = w.reg<L>(i.r[1]);
  each_lane(w.mask, [&](int l) { d[l] = a[l]; });
}
void mov_pred(Warp& w, const Instr& i) {
  uint32_t& d = w.pred(i.r[0]);
  d = (d & ~w.mask) | (w.pred(i.r[1]) & w.mask);
}
void mov_clock(Warp& w, const Instr& i) {
  const uint64_t t = i.flags ? uint64_t(std::chrono::steady_clock::now().time_since_epoch().count()) : w.machine->profile.warp_instructions;
  for_lanes(w.mask, [&](int l) {
    if (i.wide_data)
      w.reg<uint64_t>(i.r[0])[l] = t;
    else
      w.reg<uint32_t>(i.r[0])[l] = uint32_t(t);
  });
}
// mov.b32 {lo, hi}, a and mov.b32 d, {lo, hi}: `count` parts of `flags` bits.
void mov_unpack(Warp& w, const Instr& i) {
  const int part = int(i.flags);
  for_lanes(w.mask, [&](int l) {
    const uint64_t v = i.wide ? w.reg<uint64_t>(i.r[i.count])[l] : w.reg<uint32_t>(i.r[i.count])[l];
    for (int k = 0; k < i.count; ++k)
      if (i.r[k] != kNone) w.reg<uint32_t>(i.r[k])[l] = uint32_t(v >> part * k & ((1ull << part) - 1));
  });
}
void mov_pack(Warp& w, const Instr& i) {
  const int part = int(i.flags);
  if (i.count == 2) {
    auto *low = w.reg<uint32_t>(i.r[1]), *high = w.reg<uint32_t>(i.r[2]);
    const uint32_t keep = part < 32 ? (1u << part) - 1 : ~0u;
    if (i.wide) {
      auto* d = w.reg<uint64_t>(i.r[0]);
      each_lane(w.mask, [&](int l) { d[l] = (low[l] & keep) | uint64_t(high[l] & keep) << part; });
    } else {
      auto* d = w.reg<uint32_t>(i.r[0]);
      each_lane(w.mask, [&](int l) { d[l] = (low[l] & keep) | high[l] << part; });
    }
    return;
  }
  for_lanes(w.mask, [&](int l) {
    uint64_t v = 0;
    for (int k = 0; k < i.count; ++k) v |= (uint64_t(w.reg<uint32_t>(i.r[k + 1])[l]) & ((1ull << part) - 1)) << part * k;
    if (i.wide)
      w.reg<uint64_t>(i.r[0])[l] = v;
    else
      w.reg<uint32_t>(i.r[0])[l] = uint32_t(v);
  });
}

void cvta_run(Warp& w, const Instr& i) {
  auto *d = w.reg<uint64_t>(i.r[0]), *a = w.reg<uint64_t>(i.r[1]);
  each_lane(w.mask, [&](int l) { d[l] = a[l] + uint64_t(i.imm); });
}
void mov_offset(Warp& w, const Instr& i) {
  auto *d = w.reg<uint32_t>(i.r[0]), *a = w.reg<uint32_t>(i.r[1]);
  each_lane(w.mask, [&](int l) { d[l] = a[l] + uint32_t(i.imm); });
}
void mov_widen(Warp& w, const Instr& i) {  // a special register into 64 bits
  auto* d = w.reg<uint64_t>(i.r[0]);
  auto* a = w.reg<uint32_t>(i.r[1]);
  each_lane(w.mask, [&](int l) { d[l] = a[l]; });
}

// A .b128 register is two 64-bit registers, the low half first.
void mov128_run(Warp& w, const Instr& i) {  // r: d low, d high, a low, a high
  for (int h = 0; h < 2; ++h) {
    if (i.r[h] == kNone) continue;
    auto *d = w.reg<uint64_t>(i.r[h]), *a = w.reg<uint64_t>(i.r[2 + h]);
    each_lane(w.mask, [&](int l) { d[l] = a[l]; });
  }
}
void mov128(Decoder& d) {
  std::vector<uint32_t> r;
  for (size_t k = 0; k < 2; ++k) {
    const Operand& o = d.operand(k);
    if (o.kind == Operand::Vector) {
      if (o.parts.size() != 2) d.unsupported("size of the vector elements");
      for (const Operand& part : o.parts) r.push_back(k ? d.source(part, Type::b64) : d.dest(part));
    } else {
      r.push_back(d.dest(o)), r.push_back(r.back() + kHighHalf);
    }
  }
  d.emit(mov128_run, r);
}

void mov(Decoder& d) {
  const Type t = d.take_type();
  const Operand &to = d.operand(0), &from = d.operand(1);
  if (t == Type::pred) return d.emit(mov_pred, {d.dest(0), d.source(1, t)});
  if (t == Type::b128) return mov128(d);
  if (to.kind == Operand::Vector || from.kind == Operand::Vector) {
    const Operand& v = to.kind == Operand::Vector ? to : from;
    const int n = int(v.parts.size()), part = ptx::bits(t) / n;
    if (part != 8 && part != 16 && part != 32) d.unsupported("size of the vector elements");
    d.instr.count = uint8_t(n);
    d.instr.flags = uint64_t(part);
    d.instr.wide = is_wide(t);
    std::vector<uint32_t> r;
    const Type element = part == 32 ? Type::b32 : part == 16 ? Type::b16 : Type::b8;
    if (&v == &from) r.push_back(d.dest(0));
    for (const Operand& o : v.parts) r.push_back(&v == &to ? d.dest(o) : d.source(o, element));
    if (&v == &to) r.push_back(d.source(1, t));
    return d.emit(&v == &to ? mov_unpack : mov_pack, r);
  }
  if (from.kind == Operand::Special && (from.name.starts_with("%clock") || from.name.starts_with("%globaltimer"))) {
    d.instr.flags = from.name[1] == 'g';
    d.instr.wide_data = is_wide(t);
    return d.emit(mov_clock, {d.dest(0)});
  }
  if (from.kind == Operand::Special && is_wide(t)) return d.emit(mov_widen, {d.dest(0), d.source(1, Type::u32)});
  if (from.kind == Operand::Symbol) {
    int64_t offset = 0;
    const uint32_t base = d.symbol(from, is_wide(t), &offset);
    d.instr.imm = offset;
    if (offset) return d.emit(is_wide(t) ? cvta_run : mov_offset, {d.dest(0), base});
    return d.emit(is_wide(t) ? mov_run<uint64_t> : mov_run<uint32_t>, {d.dest(0), base});
  }
  d.emit(is_wide(t) ? mov_run<uint64_t> : mov_run<uint32_t>, {d.dest(0), d.source(1, t)});
}

// ---- cvta ----

void cvta(Decoder& d) {
  const bool to = d.take("to");
  const Space space = d.take_space();
  if (d.take("u32")) d.unsupported("32-bit addresses");
  d.need("u64");
  const uint64_t window = space == Space::shared || space == Space::shared_cluster ? kSharedWindow
                          : space == Space::local                                  ? kLocalWindow
                                                                                   : 0;
  d.instr.imm = int64_t(to ? 0 - window : window);
  if (d.operand(1).kind == Operand::Symbol) {
    int64_t offset = 0;
    const uint32_t base = d.symbol(d.operand(1), true, &offset);
    d.instr.imm += offset;
    return d.emit(cvta_run, {d.dest(0), base});
  }
  d.emit(cvta_run, {d.dest(0), d.source(1, Type::u64)});
}

constexpr Family kFamilies[] = {
    {"mov", mov, "9.7.9 mov", "all types, packing and unpacking, .b128, addresses of variables and functions, special registers"},
    {"cvta", cvta, "9.7.9 cvta", "all spaces, .to"},
};

}  // namespace

std::span<const Family> move_families() { return kFamilies; }

}  // namespace sim
