// 9.7.9 tensormap.replace; 9.7.13 tensormap.cp_fenceproxy.
#include "sim/cuda/tensormap.h"

#include "sim/ops/access.h"

namespace sim {
namespace {

enum class Field : uint8_t {
  global_address,
  rank,
  box_dim,
  global_dim,
  global_stride,
  element_stride,
  elemtype,
  interleave_layout,
  swizzle_mode,
  swizzle_atomicity,
  fill_mode
};
constexpr const char* kFields[] = {"global_address", "rank",     "box_dim",           "global_dim",   "global_stride",
                                   "element_stride", "elemtype", "interleave_layout", "swizzle_mode", "swizzle_atomicity",
                                   "fill_mode"};
bool has_ordinal(Field f) { return f >= Field::box_dim && f <= Field::element_stride; }

// Host pointer to the 128 bytes of a map in global or shared memory.
uint8_t* map_bytes(Warp& w, const Instr& i, int lane, uint64_t address, int access) {
  const bool generic_shared = Space(i.space) == Space::generic && (address & 0xf000'0000'0000'0000) == kSharedWindow;
  if (Space(i.space) == Space::shared || generic_shared) {
    const SharedPlace p = shared_place(w, lane, generic_shared ? address - kSharedWindow : address, 128, 64);
    touch_shared(w, lane, p, 128, access);
    return p.data();
  }
  return global_pointer(w, lane, address, 128, 64, access);
}

void set_field(TensorMap& m, Field f, uint32_t ordinal, uint64_t v) {
  switch (f) {
    case Field::global_address:
      m.base = v;
      break;
    case Field::rank:
      m.rank_less_1 = uint8_t(v);
      break;
    case Field::box_dim:
      m.box[ordinal] = uint16_t(v);
      break;
    case Field::global_dim:
      m.dims[ordinal] = uint32_t(v);
      break;
    case Field::global_stride:
      m.strides[ordinal] = v;
      break;
    case Field::element_stride:
      m.element_strides[ordinal] = uint8_t(v);
      break;
    case Field::elemtype:
      m.element_type = uint8_t(v);
      break;
    case Field::interleave_layout:
      m.interleave = uint8_t(v);
      break;
    case Field::swizzle_mode:
      m.swizzle_mode = uint8_t(v);
      break;
    case Field::swizzle_atomicity:
      break;
    case Field::fill_mode:
      m.fill_mode = uint8_t(v);
      break;
  }
}

void replace_run(Warp& w, const Instr& i) {  // r: address, value; type: field; flags: ordinal
  uint64_t address[32];
  lane_addresses(w, i, i.r[0], address);
  for_lanes(w.mask, [&](int l) {
    uint8_t* p = map_bytes(w, i, l, address[l], Write);
    TensorMap m;
    memcpy(&m, p, sizeof m);
    set_field(m, Field(i.type), uint32_t(i.flags), i.wide_data ? w.reg<uint64_t>(i.r[1])[l] : w.reg<uint32_t>(i.r[1])[l]);
    memcpy(p, &m, sizeof m);
  });
  ++w.machine->progress;
}

void replace(Decoder& d) {
  d.need("tile");
  bool found = false;
  for (size_t k = 0; k < std::size(kFields) && !found; ++k)
    if (d.take(kFields[k])) d.instr.type = uint8_t(k), found = true;
  if (!found) d.unsupported("field");
  const Space space = d.take_space();
  d.need("b1024");
  const Type t = d.take_type();
  const bool ordinal = has_ordinal(Field(d.instr.type));
  if (ordinal) {
    const int64_t k = d.constant(1);
    if (k < 0 || k > (Field(d.instr.type) == Field::global_stride ? 3 : 4)) d.unsupported("ordinal");
    d.instr.flags = uint64_t(k);
  }
  d.instr.wide_data = is_wide(t);
  d.emit(replace_run, {d.address(0, space), d.source(ordinal ? 2 : 1, t)});
}

// The whole warp copies one map from shared to global memory and releases it to the tensormap proxy.
void copy_run(Warp& w, const Instr& i) {  // r: destination, source
  if (!w.converged(w.live)) return;
  const int l = __builtin_ctz(w.mask);
  Instr shared = i;
  shared.space = uint8_t(Space::shared);
  const uint64_t source = i.wide_data ? w.reg<uint64_t>(i.r[1])[l] : w.reg<uint32_t>(i.r[1])[l];
  const uint8_t* from = map_bytes(w, shared, l, source, Read);
  memcpy(map_bytes(w, i, l, w.reg<uint64_t>(i.r[0])[l] + uint64_t(i.imm), Write), from, 128);
  if (w.machine->options.race) race::fence(w, w.mask);
  ++w.machine->progress;
}
void copy(Decoder& d) {
  d.need("global"), d.need("shared::cta"), d.need("tensormap::generic"), d.need("release");
  d.ignore({"cta", "cluster", "gpu", "sys"});
  d.need("sync"), d.need("aligned");
  const uint32_t from = d.address(1, Space::shared);
  if (d.instr.imm) d.unsupported("shared address with an offset");
  const bool wide = d.instr.wide;
  const uint32_t to = d.address(0, Space::global);
  d.instr.wide_data = wide;
  d.emit(copy_run, {to, from});
}

void tensormap(Decoder& d) {
  if (d.take("cp_fenceproxy")) return copy(d);
  d.need("replace");
  replace(d);
}

constexpr Family kFamilies[] = {
    {"tensormap", tensormap, "9.7.9 tensormap.replace, 9.7.13 tensormap.cp_fenceproxy",
     ".replace of every field in global or shared memory; .cp_fenceproxy"},
};

}  // namespace

std::span<const Family> tensormap_families() { return kFamilies; }

}  // namespace sim
