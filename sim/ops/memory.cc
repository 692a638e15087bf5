// 9.7.9 ld, st, prefetch, createpolicy, applypriority, discard, isspacep, mapa.
#include "sim/ops/access.h"

namespace sim {

void decode_store_async(Decoder& d);  // sim/ops/bulk.cc

void lane_addresses(Warp& w, const Instr& i, uint32_t base, uint64_t* address) {
  if (i.wide) {
    auto* a = w.reg<uint64_t>(base);
    each_lane(w.mask, [&](int l) { address[l] = a[l] + uint64_t(i.imm); });
  } else {
    auto* a = w.reg<uint32_t>(base);
    each_lane(w.mask, [&](int l) { address[l] = uint32_t(a[l] + uint32_t(i.imm)); });
  }
}

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
  d.take("mmio");
  const auto order = d.take_any({"relaxed", "acquire", "release", "acq_rel", "volatile"});
  d.take_any({"cta", "cluster", "gpu", "sys"});
  if (!order.empty()) d.instr.flags = kStrong;
  if (order == "acquire" || order == "acq_rel") d.instr.flags |= kAcquire;
  if (order == "release" || order == "acq_rel") d.instr.flags |= kRelease;
}
int vector_size(Decoder& d) { return d.take("v2") ? 2 : d.take("v4") ? 4 : d.take("v8") ? 8 : 1; }

std::vector<Operand> elements(Decoder& d, size_t i, int count) {
  const Operand& o = d.operand(i);
  const std::vector<Operand> parts = o.kind == Operand::Vector ? o.parts : std::vector<Operand>{o};
  if (int(parts.size()) != count) d.unsupported("vector length");
  return parts;
}

namespace {

int access_kind(const Instr& i, int kind) { return kind | (i.flags & kStrong || i.before_compare_swap ? Atomic : 0); }

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
  if (i.flags & kStrong && w.machine->options.race)
    for_lanes(w.mask, [&](int l) { race::atomic_order(w, l, p[l], true, i.flags & kAcquire, false); });
}
// Lanes of one store may write to one place: one of them wins (CUDA C++ Programming Guide, SIMT Architecture). Strict mode wants their
// values to be equal.
template <class T, class L>
void check_lanes_agree(Warp& w, const Instr& i, uint8_t* const* p) {
  for_lanes(w.mask, [&](int l) {
    for_lanes(w.mask & ((1u << l) - 1), [&](int before) {
      for (int k = 0; p[before] == p[l] && k < i.count; ++k)
        if (const L* a = w.reg<L>(i.r[1 + k]); T(a[l]) != T(a[before]))
          w.fault(l, "lanes %d and %d store different values to the same address", before, l);
    });
  });
}

// What the lanes store, for the race detector.
template <class T, class L>
void gather(Warp& w, const Instr& i, uint8_t* to) {
  for (int k = 0; k < i.count; ++k) {
    const L* a = w.reg<L>(i.r[1 + k]);
    for_lanes(w.mask, [&](int l) {
      const T v = T(a[l]);
      memcpy(to + (size_t(l) * i.count + size_t(k)) * sizeof(T), &v, sizeof(T));
    });
  }
}

template <class T, class L>
void st_run(Warp& w, const Instr& i) {
  uint64_t address[32];
  uint8_t *p[32], stored[32 * 64];
  lane_addresses(w, i, i.r[0], address);
  if (w.machine->options.race) gather<T, L>(w, i, stored), w.stored = stored;
  resolve(w, i, Space(i.space), address, sizeof(T) * i.count, access_kind(i, Write), p);
  w.stored = nullptr;
  if (w.machine->options.race && w.machine->options.strict && !(i.flags & kStrong)) check_lanes_agree<T, L>(w, i, p);
  if (i.flags & kStrong && w.machine->options.race)
    for_lanes(w.mask, [&](int l) { race::atomic_order(w, l, p[l], false, false, i.flags & kRelease); });
  bool changed = false;
  for (int k = 0; k < i.count; ++k) {
    L* a = w.reg<L>(i.r[1 + k]);
    each_lane(w.mask, [&](int l) {
      const T v = T(a[l]);
      T old;
      memcpy(&old, p[l] + sizeof(T) * size_t(k), sizeof(T));
      changed |= old != v;
      memcpy(p[l] + sizeof(T) * size_t(k), &v, sizeof(T));
    });
  }
  w.machine->progress += changed;
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

// .b128: two 64-bit halves, accessed as one.
void load_store_128(Decoder& d, Space space, bool store) {
  const Operand& data = d.operand(store ? 1 : 0);
  const uint32_t address = d.address(store ? 0 : 1, space), low = d.dest(data);
  d.instr.count = 2;
  if (store)
    d.emit(st_run<uint64_t, uint64_t>, {address, low, low + kHighHalf});
  else
    d.emit(ld_run<uint64_t, uint64_t>, {low, low + kHighHalf, address});
}

void load_store(Decoder& d, bool store) {
  const Space space = d.take_space();
  memory_order(d);
  cache_hints(d);
  const int n = vector_size(d);
  const Type t = d.take_type();
  if (t == Type::b128) return load_store_128(d, space, store);
  std::vector<uint32_t> r, address{d.address(store ? 0 : 1, space)};
  const std::vector<Operand> parts = elements(d, store ? 1 : 0, n);
  bool wide = is_wide(t);
  for (const Operand& o : parts)
    if (o.kind == Operand::Register) wide = d.wide(o);
  for (const Operand& o : parts) r.push_back(store ? d.source(o, wide ? Type::b64 : Type::b32) : d.dest(o));
  d.instr.count = uint8_t(n);
  r.insert(store ? r.begin() : r.end(), address[0]);
  d.emit(store ? by_size<Store>(d, t, wide) : by_size<Load>(d, t, wide), r);
}
void ld(Decoder& d) { load_store(d, false); }
void st(Decoder& d) {
  if (d.take("async")) return decode_store_async(d);
  load_store(d, true);
}

void no_operation(Warp&, const Instr&) {}
void prefetch(Decoder& d) {
  d.take_space();
  d.ignore({"L1", "L2", "tensormap", "L2::evict_last", "L2::evict_normal", "valid"});
  d.emit(no_operation, {});
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

// 9.7.9 createpolicy: cache policies have no effect on values; every policy is 0.
void policy_run(Warp& w, const Instr& i) {
  auto* d = w.reg<uint64_t>(i.r[0]);
  each_lane(w.mask, [&](int l) { d[l] = 0; });
}
void createpolicy(Decoder& d) {
  if (!d.take("fractional") && !d.take("range")) d.need("cvt");
  d.ignore({"L2", "L2::evict_last", "L2::evict_normal", "L2::evict_first", "L2::evict_unchanged", "global"});
  d.need("b64");
  d.emit(policy_run, {d.dest(0)});
}
// 9.7.9 applypriority, discard: hints.  (discard leaves the data undefined; it is kept.)
void hint(Decoder& d) {
  d.take_space();
  if (!d.take("L2::evict_normal")) d.need("L2");
  d.emit(no_operation, {});
}

constexpr Family kFamilies[] = {
    {"ld", ld, "9.7.9 ld", "all spaces and types, .b128, .v2 .v4 .v8, .relaxed .acquire .volatile, .nc, cache hints and policies"},
    {"ldu", ld, "9.7.9 ldu", "as ld"},
    {"st", st, "9.7.9 st, st.async",
     "all spaces and types, .b128, .v2 .v4 .v8, .relaxed .release .volatile, cache hints and policies; .async"},
    {"prefetch", prefetch, "9.7.9 prefetch", "no effect"},
    {"prefetchu", prefetch, "9.7.9 prefetch", "no effect"},
    {"createpolicy", createpolicy, "9.7.9 createpolicy", ".fractional .range .cvt; no effect"},
    {"applypriority", hint, "9.7.9 applypriority", "no effect"},
    {"discard", hint, "9.7.9 discard", "no effect"},
    {"isspacep", isspacep, "9.7.9 isspacep", "all spaces"},
    {"mapa", mapa, "9.7.9 mapa", ".u32 .u64"},
    {"getctarank", getctarank, "9.7.9 getctarank", ".u32 .u64"},
};

}  // namespace

std::span<const Family> memory_families() { return kFamilies; }

}  // namespace sim
