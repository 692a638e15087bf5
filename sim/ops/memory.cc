// 9.7.9 ld, st, prefetch, isspacep, mapa; 9.7.13 atom, red, membar, fence.
#include "sim/machine/lanes.h"

namespace sim {

// Addresses of the executing lanes: base register + offset.
void lane_addresses(Warp& w, const Instr& i, uint32_t base, uint64_t* address) {
  if (i.wide) {
    auto* a = w.reg<uint64_t>(base);
    each_lane(w.mask, [&](int l) { address[l] = a[l] + uint64_t(i.imm); });
  } else {
    auto* a = w.reg<uint32_t>(base);
    each_lane(w.mask, [&](int l) { address[l] = uint32_t(a[l] + uint32_t(i.imm)); });
  }
}

namespace {

constexpr uint64_t kStrong = 1, kAcquire = 2, kRelease = 4;  // Instr::flags

int access_kind(const Instr& i, int kind) { return kind | (i.flags & kStrong ? Atomic : 0); }

// T is the element in memory, L the lane of the register; a signed T sign-extends.
template <class T, class L>
void ld_run(Warp& w, const Instr& i) {
  uint64_t address[32];
  uint8_t* p[32];
  lane_addresses(w, i, i.r[i.count], address);
  resolve(w, i, Space(i.space), address, sizeof(T) * i.count, access_kind(i, Read), p);
  for (int k = 0; k < i.count; ++k) {
    if (i.r[k] == kNone) continue;
    L* d = w.reg<L>(i.r[k]);
    each_lane(w.mask, [&](int l) {
      T v;
      memcpy(&v, p[l] + sizeof(T) * size_t(k), sizeof(T));
      d[l] = L(v);
    });
  }
  if (i.flags & kStrong && w.machine->options.race) for_lanes(w.mask, [&](int l) { race::atomic_order(w, l, p[l], true, false); });
}
template <class T, class L>
void st_run(Warp& w, const Instr& i) {
  uint64_t address[32];
  uint8_t* p[32];
  lane_addresses(w, i, i.r[0], address);
  resolve(w, i, Space(i.space), address, sizeof(T) * i.count, access_kind(i, Write), p);
  ++w.machine->progress;
  if (i.flags & kStrong && w.machine->options.race)
    for_lanes(w.mask, [&](int l) { race::atomic_order(w, l, p[l], false, i.flags & kRelease); });
  for (int k = 0; k < i.count; ++k) {
    L* a = w.reg<L>(i.r[1 + k]);
    each_lane(w.mask, [&](int l) {
      const T v = T(a[l]);
      memcpy(p[l] + sizeof(T) * size_t(k), &v, sizeof(T));
    });
  }
}

template <template <class, class> class Run>
Handler by_size(Decoder& d, Type t, bool wide) {
  switch (t) {
    case Type::s8:
      return wide ? Run<int8_t, uint64_t>::handler : Run<int8_t, uint32_t>::handler;
    case Type::s16:
      return wide ? Run<int16_t, uint64_t>::handler : Run<int16_t, uint32_t>::handler;
    case Type::s32:
      return wide ? Run<int32_t, uint64_t>::handler : Run<int32_t, uint32_t>::handler;
    default:
      break;
  }
  switch (ptx::bits(t)) {
    case 8:
      return wide ? Run<uint8_t, uint64_t>::handler : Run<uint8_t, uint32_t>::handler;
    case 16:
      return wide ? Run<uint16_t, uint64_t>::handler : Run<uint16_t, uint32_t>::handler;
    case 32:
      return wide ? Run<uint32_t, uint64_t>::handler : Run<uint32_t, uint32_t>::handler;
    case 64:
      if (wide) return Run<uint64_t, uint64_t>::handler;
      [[fallthrough]];
    default:
      d.unsupported("type");
  }
}
template <class T, class L>
struct Load {
  static constexpr Handler handler = ld_run<T, L>;
};
template <class T, class L>
struct Store {
  static constexpr Handler handler = st_run<T, L>;
};

// Cache operators, eviction priorities and prefetch sizes have no effect on values.
void cache_hints(Decoder& d) {
  d.ignore({"ca",
            "cg",
            "cs",
            "lu",
            "cv",
            "wb",
            "wt",
            "nc",
            "L1::evict_normal",
            "L1::evict_unchanged",
            "L1::evict_first",
            "L1::evict_last",
            "L1::no_allocate",
            "L2::evict_last",
            "L2::evict_normal",
            "L2::evict_first",
            "L2::cache_hint",
            "L2::64B",
            "L2::128B",
            "L2::256B"});
}
void memory_order(Decoder& d) {
  d.take("weak");
  const auto order = d.take_any({"relaxed", "acquire", "release", "acq_rel", "volatile", "mmio"});
  d.take_any({"cta", "cluster", "gpu", "sys"});
  if (!order.empty()) d.instr.flags = kStrong;
  if (order == "acquire" || order == "acq_rel") d.instr.flags |= kAcquire;
  if (order == "release" || order == "acq_rel") d.instr.flags |= kRelease;
}
int vector_size(Decoder& d) { return d.take("v2") ? 2 : d.take("v4") ? 4 : d.take("v8") ? 8 : 1; }

void load_store(Decoder& d, bool store) {
  const Space space = d.take_space();
  memory_order(d);
  cache_hints(d);
  const int n = vector_size(d);
  const Type t = d.take_type();
  const Operand& data = d.operand(store ? 1 : 0);
  std::vector<uint32_t> r, address{d.address(store ? 0 : 1, space)};
  std::vector<Operand> elements = n > 1 ? data.parts : std::vector<Operand>{data};
  if (int(elements.size()) != n) d.unsupported("vector length");
  bool wide = is_wide(t);
  for (const Operand& o : elements)
    if (o.kind == Operand::Register) wide = d.wide(o);
  for (const Operand& o : elements) r.push_back(store ? d.source(o, wide ? Type::b64 : Type::b32) : d.dest(o));
  d.instr.count = uint8_t(n);
  r.insert(store ? r.begin() : r.end(), address[0]);
  d.emit(store ? by_size<Store>(d, t, wide) : by_size<Load>(d, t, wide), r);
}
void ld(Decoder& d) { load_store(d, false); }
void st(Decoder& d) { load_store(d, true); }

void no_operation(Warp&, const Instr&) {}
void prefetch(Decoder& d) {
  d.take_space();
  d.ignore({"L1", "L2", "tensormap", "L2::evict_last", "L2::evict_normal"});
  d.emit(no_operation, {});
}

// ------------------------------------------------------------------------------------- atom, red

enum class Rmw : uint8_t { add, exch, cas, min, max, inc, dec, and_, or_, xor_ };

template <class T>
Value<T> apply(Rmw op, Value<T> old, Value<T> b, Value<T> c) {
  using V = Value<T>;
  switch (op) {
    case Rmw::add:
      if constexpr (std::is_integral_v<V>)
        return V(std::make_unsigned_t<V>(old) + std::make_unsigned_t<V>(b));
      else
        return old + b;
    case Rmw::exch:
      return b;
    case Rmw::cas:
      return old == b ? c : old;
    case Rmw::min:
      return b < old ? b : old;
    case Rmw::max:
      return b > old ? b : old;
    default:
      break;
  }
  if constexpr (std::is_integral_v<V>) switch (op) {
      case Rmw::inc:
        return old >= b ? V(0) : V(old + 1);
      case Rmw::dec:
        return old == 0 || old > b ? b : V(old - 1);
      case Rmw::and_:
        return old & b;
      case Rmw::or_:
        return old | b;
      case Rmw::xor_:
        return old ^ b;
      default:
        break;
    }
  fail("atomic operation on this type");
}

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
  resolve(w, i, Space(i.space), address, uint32_t(Bytes) * i.count, Write | Atomic, p);
  const Rmw op = Rmw(i.type);
  for_lanes(w.mask, [&](int l) {
    if (w.machine->options.race) race::atomic_order(w, l, p[l], true, i.flags & kRelease);
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
  resolve(w, i, Space(i.space), address, 4u * i.count, Write | Atomic, p);
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

void read_modify_write(Decoder& d, bool returns) {
  if (d.take("async")) d.unsupported("red.async");
  const Space space = d.take_space();
  memory_order(d);
  cache_hints(d);
  d.take("noftz");
  const int n = vector_size(d);
  const auto name = d.take_any({"add", "exch", "cas", "min", "max", "inc", "dec", "and", "or", "xor"});
  constexpr std::string_view names[] = {"add", "exch", "cas", "min", "max", "inc", "dec", "and", "or", "xor"};
  for (int k = 0; k < 10; ++k)
    if (name == names[k]) d.instr.type = uint8_t(k);
  if (name.empty()) d.unsupported("operation");
  const Type t = d.take_type();
  d.instr.flags |= returns ? 8 : 0;
  d.instr.count = uint8_t(n);
  auto parts = [&](size_t i) { return n > 1 ? d.operand(i).parts : std::vector<Operand>{d.operand(i)}; };
  std::vector<uint32_t> r;
  size_t at = 0;
  if (returns) {
    for (const Operand& o : parts(0)) r.push_back(d.dest(o));
    at = 1;
  }
  r.push_back(d.address(at, space));
  for (const Operand& o : parts(at + 1)) r.push_back(d.source(o, t));
  if (name == "cas") r.push_back(d.source(at + 2, t));
  d.emit(rmw_handler(d, t), r);
}
void atom(Decoder& d) { read_modify_write(d, true); }
void red(Decoder& d) { read_modify_write(d, false); }

// --------------------------------------------------------------------------- fences, address tests

void fence_run(Warp& w, const Instr&) {
  if (w.machine->options.race) race::fence(w, w.mask);
  w.yielded = true;
}
void fence_proxy_run(Warp& w, const Instr&) {
  for_lanes(w.mask, [&](int l) { ++w.proxy_fences[l]; });
}
void fence_mbarrier_init(Warp& w, const Instr&) {
  w.mbarrier_unfenced &= ~w.mask;
  if (w.machine->options.race) race::fence(w, w.mask);
}
void fence(Decoder& d) {
  if (d.take("proxy")) {
    const auto kind = d.take_any({"async", "alias", "tensormap::generic", "async::generic", "async.global"});
    d.take_space();
    if (kind == "tensormap::generic" || kind.empty()) {
      d.ignore({"acquire", "release", "cta", "cluster", "gpu", "sys"});
      d.take("async::generic");
      return d.emit(no_operation, {});
    }
    return d.emit(kind == "async" ? fence_proxy_run : no_operation, {});
  }
  const bool init = d.take("mbarrier_init");
  d.ignore({"sc", "acq_rel", "acquire", "release", "cta", "cluster", "gpu", "sys", "gl", "sync_restrict::shared::cta",
            "sync_restrict::shared::cluster"});
  d.emit(init ? fence_mbarrier_init : fence_run, {});
}

void isspacep_run(Warp& w, const Instr& i) {
  auto* a = w.reg<uint64_t>(i.r[1]);
  uint32_t r = 0;
  for_lanes(w.mask, [&](int l) {
    const uint64_t window = a[l] & 0xf000'0000'0000'0000;
    bool in = false;
    switch (Space(i.type)) {
      case Space::shared:
        in = window == kSharedWindow && (a[l] & 0xffffffff) >> kRankShift == 0;
        break;
      case Space::shared_cluster:
        in = window == kSharedWindow;
        break;
      case Space::local:
        in = window == kLocalWindow;
        break;
      default:
        in = window != kSharedWindow && window != kLocalWindow;
        break;
    }
    r |= uint32_t(in) << l;
  });
  uint32_t& d = w.pred(i.r[0]);
  d = (d & ~w.mask) | r;
}
void isspacep(Decoder& d) {
  d.instr.type = uint8_t(d.take_space());
  d.emit(isspacep_run, {d.dest(0), d.source(1, Type::u64)});
}

// 9.7.9 mapa: the address of a shared variable in another block of the cluster.
template <class L>
void mapa_run(Warp& w, const Instr& i) {
  L *d = w.reg<L>(i.r[0]), *a = w.reg<L>(i.r[1]);
  auto* rank = w.reg<uint32_t>(i.r[2]);
  for_lanes(w.mask, [&](int l) {
    if (!block_of(*w.block->cluster, rank[l])) w.fault(l, "mapa: the cluster has no block of rank %u", rank[l]);
    const uint64_t window = a[l] & ~L(0xffffffffu), offset = a[l] & ((1u << kRankShift) - 1);
    d[l] = L(window | uint64_t(rank[l] + 1) << kRankShift | offset);
  });
}
void mapa(Decoder& d) {
  d.take_space();
  const Type t = d.take_type();
  d.emit(is_wide(t) ? mapa_run<uint64_t> : mapa_run<uint32_t>, {d.dest(0), d.source(1, t), d.source(2, Type::u32)});
}
void getctarank_run(Warp& w, const Instr& i) {
  for_lanes(w.mask, [&](int l) {
    const uint64_t a = i.wide ? w.reg<uint64_t>(i.r[1])[l] : w.reg<uint32_t>(i.r[1])[l];
    const uint32_t r = uint32_t(a & 0xffffffff) >> kRankShift;
    w.reg<uint32_t>(i.r[0])[l] = r ? r - 1 : w.block->rank;
  });
}
void getctarank(Decoder& d) {
  d.take_space();
  const Type t = d.take_type();
  d.instr.wide = is_wide(t);
  d.emit(getctarank_run, {d.dest(0), d.source(1, t)});
}

constexpr Family kFamilies[] = {
    {"ld", ld, "9.7.9 ld", "all spaces and types, .v2 .v4 .v8, .relaxed .acquire .volatile, .nc, cache hints"},
    {"ldu", ld, "9.7.9 ldu", "as ld"},
    {"st", st, "9.7.9 st", "all spaces and types, .v2 .v4 .v8, .relaxed .release .volatile, cache hints"},
    {"prefetch", prefetch, "9.7.9 prefetch", "no effect"},
    {"prefetchu", prefetch, "9.7.9 prefetch", "no effect"},
    {"atom", atom, "9.7.13 atom", ".add .exch .cas .min .max .inc .dec .and .or .xor; 16, 32, 64 bits, f16/bf16/x2, f32, f64; vectors"},
    {"red", red, "9.7.13 red", "as atom"},
    {"membar", fence, "9.7.13 membar", ".cta .gl .sys"},
    {"fence", fence, "9.7.13 fence", ".sc .acq_rel .acquire .release, .mbarrier_init, .proxy.async, .proxy.alias, .proxy.tensormap"},
    {"isspacep", isspacep, "9.7.9 isspacep", "all spaces"},
    {"mapa", mapa, "9.7.9 mapa", ".u32 .u64"},
    {"getctarank", getctarank, "9.7.9 getctarank", ".u32 .u64"},
};

}  // namespace

std::span<const Family> memory_families() { return kFamilies; }

}  // namespace sim
