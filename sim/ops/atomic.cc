// 9.7.13 atom, red.
#include "sim/ops/access.h"
#include "sim/ops/rmw.h"

namespace sim {

void decode_reduce_async(Decoder& d);  // red.async, sim/ops/bulk.cc

namespace {

// Elements of `count` in one vector; T is the element's type in memory, Bytes its size.
template <class T, int Bytes>
void rmw_run(Warp& w, const Instr& i) {
  uint64_t address[32];
  uint8_t* p[32];
  const bool returns = i.flags & 8;
  const uint32_t* r = i.r;
  const uint32_t* d = r;
  if (returns) r += i.count;
  lane_addresses(w, i, r[0], address);
  resolve(w, i, Space(i.space), address, uint32_t(Bytes) * i.count, Write | Atomic | Update, p);
  const Rmw op = Rmw(i.type);
  for_lanes(w.mask, [&](int l) {
    if (w.machine->options.race) race::atomic_order(w, l, p[l], true, i.flags & kAcquire, i.flags & kRelease);
    for (int k = 0; k < i.count; ++k) {
      LaneOf<T> old = 0;
      memcpy(&old, p[l] + k * Bytes, Bytes);
      const auto b = Traits<T>::get(w.reg<LaneOf<T>>(r[1 + k])[l]);
      const auto c = op == Rmw::cas ? Traits<T>::get(w.reg<LaneOf<T>>(r[2])[l]) : b;
      const LaneOf<T> now = Traits<T>::put(apply<T>(op, Traits<T>::get(old), b, c));
      w.machine->progress += now != old;
      memcpy(p[l] + k * Bytes, &now, Bytes);
      if (returns && d[k] != kNone) w.reg<LaneOf<T>>(d[k])[l] = old;
    }
  });
}
template <class H>
void rmw_packed(Warp& w, const Instr& i) {  // f16x2, bf16x2: two independent additions
  uint64_t address[32];
  uint8_t* p[32];
  const bool returns = i.flags & 8;
  const uint32_t *d = i.r, *r = i.r + (returns ? i.count : 0);
  lane_addresses(w, i, r[0], address);
  resolve(w, i, Space(i.space), address, 4u * i.count, Write | Atomic | Update, p);
  for_lanes(w.mask, [&](int l) {
    for (int k = 0; k < i.count; ++k) {
      uint32_t old, now = 0;
      memcpy(&old, p[l] + k * 4, 4);
      const uint32_t b = w.reg<uint32_t>(r[1 + k])[l];
      for (int h = 0; h < 32; h += 16)
        now |= Traits<H>::put(apply<H>(Rmw(i.type), Traits<H>::get(old >> h & 0xffff), Traits<H>::get(b >> h & 0xffff), 0)) << h;
      memcpy(p[l] + k * 4, &now, 4);
      if (returns && d[k] != kNone) w.reg<uint32_t>(d[k])[l] = old;
    }
  });
}

Handler rmw_handler(Decoder& d, Type t) {
  switch (t) {
    case Type::u32:
    case Type::b32:
      return rmw_run<uint32_t, 4>;
    case Type::s32:
      return rmw_run<int32_t, 4>;
    case Type::u64:
    case Type::b64:
      return rmw_run<uint64_t, 8>;
    case Type::s64:
      return rmw_run<int64_t, 8>;
    case Type::b16:
      return rmw_run<uint16_t, 2>;
    case Type::f32:
      return rmw_run<float, 4>;
    case Type::f64:
      return rmw_run<double, 8>;
    case Type::f16:
      return rmw_run<F16, 2>;
    case Type::bf16:
      return rmw_run<BF16, 2>;
    case Type::f16x2:
      return rmw_packed<F16>;
    case Type::bf16x2:
      return rmw_packed<BF16>;
    default:
      d.unsupported("type");
  }
}

// atom.exch.b128, atom.cas.b128.  r: d low, d high, address, b low, b high [, c low, c high]
void rmw_128(Warp& w, const Instr& i) {
  uint64_t address[32];
  uint8_t* p[32];
  lane_addresses(w, i, i.r[2], address);
  resolve(w, i, Space(i.space), address, 16, Write | Atomic | Update, p);
  auto half = [&](int k, int l) -> uint64_t& { return w.reg<uint64_t>(i.r[k])[l]; };
  for_lanes(w.mask, [&](int l) {
    if (w.machine->options.race) race::atomic_order(w, l, p[l], true, i.flags & kAcquire, i.flags & kRelease);
    uint64_t old[2], now[2] = {half(3, l), half(4, l)};
    memcpy(old, p[l], 16);
    if (Rmw(i.type) == Rmw::cas) {
      if (old[0] == now[0] && old[1] == now[1])
        now[0] = half(5, l), now[1] = half(6, l);
      else
        now[0] = old[0], now[1] = old[1];
    }
    w.machine->progress += memcmp(now, old, 16) != 0;
    memcpy(p[l], now, 16);
    half(0, l) = old[0], half(1, l) = old[1];
  });
}
void atom_128(Decoder& d, Space space) {
  const bool cas = Rmw(d.instr.type) == Rmw::cas;
  if (!cas && Rmw(d.instr.type) != Rmw::exch) d.unsupported("operation on .b128");
  const uint32_t to = d.dest(0), address = d.address(1, space), b = d.dest(2);
  std::vector<uint32_t> r{to, to + kHighHalf, address, b, b + kHighHalf};
  if (cas) r.push_back(d.dest(3)), r.push_back(r.back() + kHighHalf);
  d.emit(rmw_128, r);
}

void read_modify_write(Decoder& d, bool returns) {
  if (!returns && d.take("async")) return decode_reduce_async(d);
  const Space space = d.take_space();
  memory_order(d);
  cache_hints(d);
  d.take("noftz");
  const int n = vector_size(d);
  const Rmw op = take_rmw(d);
  d.instr.type = uint8_t(op);
  const Type t = d.take_type();
  if (t == Type::b128) return atom_128(d, space);
  d.instr.flags |= returns ? 8 : 0;
  d.instr.count = uint8_t(n);
  std::vector<uint32_t> r;
  size_t at = 0;
  if (returns) {
    for (const Operand& o : elements(d, 0, n)) r.push_back(d.dest(o));
    at = 1;
  }
  r.push_back(d.address(at, space));
  for (const Operand& o : elements(d, at + 1, n)) r.push_back(d.source(o, t));
  if (op == Rmw::cas) r.push_back(d.source(at + 2, t));
  d.emit(rmw_handler(d, t), r);
}
void atom(Decoder& d) { read_modify_write(d, true); }
void red(Decoder& d) { read_modify_write(d, false); }

constexpr Family kFamilies[] = {
    {"atom", atom, "9.7.13 atom",
     ".add .exch .cas .min .max .inc .dec .and .or .xor; 16, 32, 64 and 128 bits, f16/bf16/x2, f32, f64; vectors; every order and scope"},
    {"red", red, "9.7.13 red, red.async", "as atom; .async"},
};

}  // namespace

std::span<const Family> atomic_families() { return kFamilies; }

}  // namespace sim
