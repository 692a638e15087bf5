// 9.7.9 Data Movement: bulk copy (cp.async.bulk), tensor copy (cp.async.bulk.tensor).
//
// A load lands as late as permitted, at once, or at a random moment; its destination is poison until
// then.  A store reads shared memory at some moment between issue and wait.
#include "sim/cuda/tensormap.h"
#include "sim/machine/mbarrier.h"
#include "sim/ops/access.h"
#include "sim/ops/rmw.h"

namespace sim {

namespace {

constexpr Rmw kCopy = Rmw::exch;        // no reduction
constexpr uint32_t kTensorAlign = 128;  // of shared memory for unswizzled tensor copies

// ---- cp.reduce: one element in memory ----

template <class T>
void reduce_as(uint8_t* to, const uint8_t* from, Rmw op, uint32_t bytes) {
  LaneOf<T> a = 0, b = 0;
  memcpy(&a, to, bytes), memcpy(&b, from, bytes);
  const Value<T> y = Traits<T>::get(b);
  a = Traits<T>::put(apply<T>(op, Traits<T>::get(a), y, y));
  memcpy(to, &a, bytes);
}
void reduce_element(uint8_t* to, const uint8_t* from, Type t, Rmw op) {
  switch (t) {
    case Type::u32:
    case Type::b32:
      return reduce_as<uint32_t>(to, from, op, 4);
    case Type::s32:
      return reduce_as<int32_t>(to, from, op, 4);
    case Type::u64:
    case Type::b64:
      return reduce_as<uint64_t>(to, from, op, 8);
    case Type::s64:
      return reduce_as<int64_t>(to, from, op, 8);
    case Type::f16:
      return reduce_as<F16>(to, from, op, 2);
    case Type::bf16:
      return reduce_as<BF16>(to, from, op, 2);
    case Type::f32:
      return reduce_as<float>(to, from, op, 4);
    case Type::f64:
      return reduce_as<double>(to, from, op, 8);
    default:
      fail("cp.reduce.async.bulk: unsupported element type");
  }
}

// -------------------------------------------------------------------------------- tensor boxes

struct Box {
  TensorMap map;
  int32_t at[5];
  uint32_t bytes() const {
    uint32_t n = map.element_bytes();
    for (uint32_t k = 0; k < map.rank(); ++k) n *= map.box[k];
    return n;
  }
};

// Copies between the box in global memory and its swizzled image in shared memory.
void copy_box(const Box& b, const SharedPlace& shared, bool store, Rmw reduce, const race::Agent* agent, const char* what) {
  const TensorMap& m = b.map;
  const uint32_t size = m.element_bytes(), inner = m.box[0] * size, rows = b.bytes() / inner;
  for (uint32_t row = 0; row < rows; ++row) {
    uint64_t address = m.base;
    bool inside = true;
    for (uint32_t k = 1, rest = row; k < m.rank(); ++k) {
      const int64_t c = int64_t(b.at[k]) + rest % m.box[k];
      rest /= m.box[k];
      inside = inside && c >= 0 && c < int64_t(m.dims[k]);
      address += uint64_t(c) * m.stride(k);
    }
    const int64_t first = std::max<int64_t>(0, -int64_t(b.at[0])), last = std::min<int64_t>(m.box[0], int64_t(m.dims[0]) - b.at[0]);
    if (inside && first < last)
      touch_global(agent, address + uint64_t(b.at[0] + first) * size, uint64_t(last - first) * size,
                   !store            ? Read
                   : reduce == kCopy ? Write
                                     : Write | Atomic | Update);
    for (uint32_t byte = 0; byte < inner; byte += 16) {
      const SharedPlace p{shared.block, swizzle(shared.offset + row * inner + byte, m.swizzle_bytes())};
      check_proxy(p, 16, what);
      touch_shared(agent, p, 16, store ? Read : Write);
      for (uint32_t e = byte; e < byte + 16; e += size) {
        const int64_t c = int64_t(b.at[0]) + e / size;
        uint8_t* s = p.data() + (e - byte);
        const bool in = inside && c >= 0 && c < int64_t(m.dims[0]);
        auto* g = reinterpret_cast<uint8_t*>(address + uint64_t(c) * size);
        if (!store && in)
          memcpy(s, g, size);
        else if (!store)
          memset(s, m.fill_mode ? 0xff : 0, size);
        else if (in && reduce == kCopy)
          memcpy(g, s, size);
        else if (in)
          reduce_element(g, s, m.type(), reduce);
      }
    }
  }
}

Box make_box(Warp& w, const Instr& i, int lane, const uint32_t* coordinates, int access) {
  uint64_t address = w.reg<uint64_t>(i.r[0])[lane] + uint64_t(i.imm);
  Box b;
  memcpy(&b.map, global_pointer(w, lane, address, 128, 64, Read), sizeof b.map);
  if (const char* defect = b.map.defect()) w.fault(lane, "the tensor map at address 0x%lx has a bad %s", address, defect);
  if (b.map.rank() != i.count) w.fault(lane, "tensor map has rank %u, the instruction %u", b.map.rank(), i.count);
  for (int k = 0; k < i.count; ++k) b.at[k] = int32_t(w.reg<uint32_t>(coordinates[k])[lane]);
  // The whole box that lies inside the tensor must be allocated.
  uint64_t low = b.map.base, high = b.map.base + b.map.element_bytes();
  for (uint32_t k = 0; k < b.map.rank(); ++k) high += (b.map.dims[k] - 1) * b.map.stride(k);
  check_extent(w, lane, low, high - low, access);
  return b;
}

SharedPlace box_place(Warp& w, int lane, uint64_t address, const Box& b) {
  const uint32_t align = b.map.swizzle_mode ? b.map.swizzle_bytes() * 8 : kTensorAlign;
  return shared_place(w, lane, address, b.bytes(), align);
}

void poison(const SharedPlace& p, uint32_t bytes) { memset(p.data(), 0xff, bytes); }

// The blocks of the cluster that a multicast writes: same offset in each.
template <class F>
void for_destinations(Warp& w, int lane, const SharedPlace& p, uint32_t mask_slot, F&& f) {
  if (mask_slot == kNone) return f(p);
  const uint32_t mask = w.reg<uint32_t>(mask_slot)[lane] & 0xffff;
  for_lanes(mask, [&](int rank) {
    Block* b = block_of(*w.block->cluster, uint32_t(rank));
    if (!b) w.fault(lane, "multicast to block %d, which the cluster does not have", rank);
    f(SharedPlace{b, p.offset});
  });
}

// r: tensor map, destination, mbarrier, multicast mask or none, coordinates...
void tensor_load_run(Warp& w, const Instr& i) {
  for_lanes(w.mask, [&](int l) {
    const Box box = make_box(w, i, l, i.r + 4, Read);
    const SharedPlace dst = box_place(w, l, uint32_t(w.reg<uint32_t>(i.r[1])[l]), box);
    const SharedPlace bar = shared_place(w, l, w.reg<uint32_t>(i.r[2])[l], 8, 8);
    if (bar.block != dst.block) w.fault(l, "the mbarrier and the destination are in different blocks");
    std::vector<SharedPlace> to;
    for_destinations(w, l, dst, i.r[3], [&](SharedPlace p) { to.push_back(p); });
    for (const SharedPlace& p : to) mbarrier_check({p.block, bar.offset});
    Machine& m = *w.machine;
    const bool race = m.options.race;
    std::shared_ptr<race::Agent> agent = race ? std::make_shared<race::Agent>(race::begin_agent(w, l, i)) : nullptr;
    m.profile.bulk_bytes += box.bytes();
    m.defer(
        w, l,
        [box, to, bar, agent, &m] {
          for (const SharedPlace& p : to) {
            copy_box(box, p, false, kCopy, agent.get(), "TMA load");
            const SharedPlace b{p.block, bar.offset};
            if (agent) race::finish_agent(*agent, p.block->mbarriers[bar.offset].arriving);
            mbarrier_complete_tx(m, b, box.bytes());
          }
        },
        [&] {
          for (const SharedPlace& p : to) poison(p, box.bytes());
        });
  });
}

void push_store(Warp& w, int lane, std::function<void()> copy) {
  BulkStore s{lane, w.bulk_group[lane], w.pc, false, std::move(copy)};
  w.fault_lane = lane;  // in messages of the copy
  if (w.machine->lands_early()) s.copy(), s.copy = nullptr;
  w.fault_lane = -1;
  w.bulk.push_back(std::move(s));
  ++w.machine->progress;
}

// r: tensor map, source, coordinates...; flags: reduction
void tensor_store_run(Warp& w, const Instr& i) {
  for_lanes(w.mask, [&](int l) {
    const Box box = make_box(w, i, l, i.r + 2, Write);
    const SharedPlace src = box_place(w, l, w.reg<uint32_t>(i.r[1])[l], box);
    const Rmw reduce = Rmw(i.flags);
    w.machine->profile.bulk_bytes += box.bytes();
    std::shared_ptr<race::Agent> agent = w.machine->options.race ? std::make_shared<race::Agent>(race::begin_agent(w, l, i)) : nullptr;
    push_store(w, l, [box, src, reduce, agent, &w, l] {
      copy_box(box, src, true, reduce, agent.get(), "TMA store");
      if (agent) race::finish_agent(*agent, w, l);
    });
  });
}
void no_operation(Warp&, const Instr&) {}

// ----------------------------------------------------------------------------- untyped bulk copies

void check_bulk(Warp& w, int l, uint64_t a, uint32_t bytes) {
  if (bytes % 16) w.fault(l, "cp.async.bulk: size %u is not a multiple of 16", bytes);
  if (a % 16) w.fault(l, "cp.async.bulk: address 0x%lx is not aligned to 16 bytes", a);
}

// r: destination, source, size, mbarrier, multicast mask or none; flags: 1 if the source is shared memory
void bulk_load_run(Warp& w, const Instr& i) {
  for_lanes(w.mask, [&](int l) {
    const uint32_t bytes = w.reg<uint32_t>(i.r[2])[l];
    const bool from_shared = i.flags & 1;
    const uint64_t source = from_shared ? w.reg<uint32_t>(i.r[1])[l] : w.reg<uint64_t>(i.r[1])[l];
    check_bulk(w, l, source, bytes);
    const SharedPlace dst = shared_place(w, l, w.reg<uint32_t>(i.r[0])[l], bytes, 16),
                      bar = shared_place(w, l, w.reg<uint32_t>(i.r[3])[l], 8, 8);
    if (bar.block != dst.block) w.fault(l, "the mbarrier and the destination are in different blocks");
    const SharedPlace src = from_shared ? shared_place(w, l, source, bytes, 16) : SharedPlace{nullptr, 0};
    if (!from_shared) check_extent(w, l, source, bytes, Read);
    const auto* global = from_shared ? nullptr : reinterpret_cast<const uint8_t*>(source);
    const Rmw reduce = Rmw(i.count);
    const Type type = Type(i.type);
    const uint32_t size = uint32_t(ptx::bits(type)) / 8;
    std::vector<SharedPlace> to;
    for_destinations(w, l, dst, i.r[4], [&](SharedPlace p) { to.push_back(p); });
    for (const SharedPlace& p : to) mbarrier_check({p.block, bar.offset});
    Machine& m = *w.machine;
    m.profile.bulk_bytes += bytes;
    std::shared_ptr<race::Agent> agent = m.options.race ? std::make_shared<race::Agent>(race::begin_agent(w, l, i)) : nullptr;
    m.defer(
        w, l,
        [=, &m] {
          for (const SharedPlace& p : to) {
            check_proxy(p, bytes, "cp.async.bulk");
            touch_shared(agent.get(), p, bytes, Write);
            if (src.block) {
              check_proxy(src, bytes, "cp.async.bulk");
              touch_shared(agent.get(), src, bytes, Read);
            } else {
              touch_global(agent.get(), source, bytes, Read);
            }
            const uint8_t* data = src.block ? src.data() : global;
            if (reduce == kCopy)
              memcpy(p.data(), data, bytes);
            else
              for (uint32_t e = 0; e < bytes; e += size) reduce_element(p.data() + e, data + e, type, reduce);
            if (agent) race::finish_agent(*agent, p.block->mbarriers[bar.offset].arriving);
            mbarrier_complete_tx(m, {p.block, bar.offset}, bytes);
          }
        },
        [&] {
          if (reduce != kCopy) return;
          for (const SharedPlace& p : to) poison(p, bytes);
        });
  });
}

// r: destination, source, size; flags: reduction, element type in i.type
void bulk_store_run(Warp& w, const Instr& i) {
  for_lanes(w.mask, [&](int l) {
    const uint32_t bytes = w.reg<uint32_t>(i.r[2])[l];
    const uint64_t to = w.reg<uint64_t>(i.r[0])[l];
    check_bulk(w, l, to, bytes);
    const SharedPlace src = shared_place(w, l, w.reg<uint32_t>(i.r[1])[l], bytes, 16);
    check_extent(w, l, to, bytes, Write);
    auto* global = reinterpret_cast<uint8_t*>(to);
    const Rmw reduce = Rmw(i.flags);
    const Type type = Type(i.type);
    const uint32_t size = uint32_t(ptx::bits(type)) / 8;
    w.machine->profile.bulk_bytes += bytes;
    std::shared_ptr<race::Agent> agent = w.machine->options.race ? std::make_shared<race::Agent>(race::begin_agent(w, l, i)) : nullptr;
    push_store(w, l, [=, &w] {
      check_proxy(src, bytes, "cp.async.bulk");
      touch_shared(agent.get(), src, bytes, Read);
      touch_global(agent.get(), to, bytes, reduce == kCopy ? Write : Write | Atomic | Update);
      if (reduce == kCopy)
        memcpy(global, src.data(), bytes);
      else
        for (uint32_t e = 0; e < bytes; e += size) reduce_element(global + e, src.data() + e, type, reduce);
      if (agent) race::finish_agent(*agent, w, l);
    });
  });
}

void commit_run(Warp& w, const Instr&) {
  for_lanes(w.mask, [&](int l) { ++w.bulk_group[l]; });
}
void wait_group_run(Warp& w, const Instr& i) {
  for (BulkStore& s : w.bulk)
    if (!s.done && w.mask >> s.lane & 1 && s.group + uint64_t(i.imm) < w.bulk_group[s.lane]) {
      const uint32_t here = std::exchange(w.pc, s.pc);  // messages name the copy, not the wait
      w.fault_lane = s.lane;
      if (s.copy) s.copy();
      w.pc = here, w.fault_lane = -1;
      s.done = true;
    }
  std::erase_if(w.bulk, [](const BulkStore& s) { return s.done; });
}

// -------------------------------------------------------------------------------------- decoding

void cache_hint(Decoder& d) { d.take("L2::cache_hint"); }

int rank_of(Decoder& d) {
  const auto r = d.take_any({"1d", "2d", "3d", "4d", "5d"});
  return r.empty() ? 0 : r[0] - '0';
}

std::vector<uint32_t> coordinates(Decoder& d, const Operand& map, int rank) {
  if (map.parts.size() != 2 || map.parts[1].kind != Operand::Vector || int(map.parts[1].parts.size()) != rank)
    d.unsupported("tensor coordinates");
  std::vector<uint32_t> r;
  for (const Operand& o : map.parts[1].parts) r.push_back(d.source(o, Type::s32));
  return r;
}

// A shared address without offset, as inline assembly writes it.
uint32_t plain_address(Decoder& d, size_t i, Space space) {
  const bool wide = d.instr.wide;
  const int64_t imm = d.instr.imm;
  const uint32_t r = d.address(i, space);
  if (d.instr.imm) d.unsupported("address with an offset");
  if ((space != Space::global) == d.instr.wide) d.unsupported("width of an address");
  d.instr.wide = wide;
  d.instr.imm = imm;
  return r;
}

void tensor_copy(Decoder& d, bool prefetch, bool reduce) {
  const int rank = rank_of(d);
  if (!rank) d.unsupported("rank");
  d.take("tile");
  cache_hint(d);
  d.instr.count = uint8_t(rank);
  if (prefetch) {
    d.need("L2"), d.need("global");
    return d.emit(no_operation, {});
  }
  if (d.take("bulk_group")) {  // store
    d.need("global"), d.need("shared::cta");
    d.instr.flags = uint64_t(reduce ? take_rmw(d) : kCopy);
    const uint32_t src = plain_address(d, 1, Space::shared);
    std::vector<uint32_t> r{0, src}, c = coordinates(d, d.operand(0), rank);
    r[0] = d.address(0, Space::global);
    r.insert(r.end(), c.begin(), c.end());
    return d.emit(tensor_store_run, r);
  }
  d.need("mbarrier::complete_tx::bytes");
  if (!d.take("shared::cluster")) d.need("shared::cta");
  d.need("global");
  const bool multicast = d.take("multicast::cluster");
  const uint32_t dst = plain_address(d, 0, Space::shared), bar = plain_address(d, 2, Space::shared);
  std::vector<uint32_t> r{0, dst, bar, multicast ? d.source(3, Type::u16) : kNone}, c = coordinates(d, d.operand(1), rank);
  r[0] = d.address(1, Space::global);
  r.insert(r.end(), c.begin(), c.end());
  d.emit(tensor_load_run, r);
}

}  // namespace

void decode_bulk(Decoder& d) {
  d.uses_async_proxy();
  if (d.take("commit_group")) return d.emit(commit_run, {});
  if (d.take("wait_group")) {
    d.take("read");
    d.instr.imm = d.constant(0);
    return d.emit(wait_group_run, {});
  }
  const bool reduce = d.take("reduce"), prefetch = d.take("prefetch");
  if (d.take("tensor")) return tensor_copy(d, prefetch, reduce);
  cache_hint(d);
  if (prefetch) {
    d.need("L2"), d.need("global");
    return d.emit(no_operation, {});
  }
  if (d.take("bulk_group")) {
    d.need("global"), d.need("shared::cta");
    d.instr.flags = uint64_t(reduce ? take_rmw(d) : kCopy);
    d.take("noftz");
    d.instr.type = uint8_t(reduce ? d.take_type() : Type::b32);
    return d.emit(bulk_store_run, {plain_address(d, 0, Space::global), plain_address(d, 1, Space::shared), d.source(2, Type::u32)});
  }
  d.instr.count = uint8_t(reduce ? take_rmw(d) : kCopy);
  d.instr.type = uint8_t(reduce ? d.take_type() : Type::b32);
  d.need("mbarrier::complete_tx::bytes");
  const bool from_global = d.take("global"), to_cluster = d.take("shared::cluster"), cta = d.take("shared::cta");
  if (!to_cluster && !cta) d.unsupported();
  d.instr.flags = !from_global;
  const bool multicast = d.take("multicast::cluster");
  d.emit(bulk_load_run, {plain_address(d, 0, Space::shared), plain_address(d, 1, from_global ? Space::global : Space::shared),
                         d.source(2, Type::u32), plain_address(d, 3, Space::shared), multicast ? d.source(4, Type::u16) : kNone});
}

}  // namespace sim
