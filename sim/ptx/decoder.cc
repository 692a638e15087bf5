// The parts that instruction decoders are made of: modifiers and operands of one statement.
#include "sim/ptx/lowering.h"

namespace sim {

namespace {

// 10. Special Registers.
constexpr struct {
  const char* name;
  Special special;
} kSpecials[] = {
    {"%tid.x", Special::tid_x},
    {"%tid.y", Special::tid_y},
    {"%tid.z", Special::tid_z},
    {"%ntid.x", Special::ntid_x},
    {"%ntid.y", Special::ntid_y},
    {"%ntid.z", Special::ntid_z},
    {"%ctaid.x", Special::ctaid_x},
    {"%ctaid.y", Special::ctaid_y},
    {"%ctaid.z", Special::ctaid_z},
    {"%nctaid.x", Special::nctaid_x},
    {"%nctaid.y", Special::nctaid_y},
    {"%nctaid.z", Special::nctaid_z},
    {"%laneid", Special::laneid},
    {"%warpid", Special::warpid},
    {"%nwarpid", Special::nwarpid},
    {"%smid", Special::smid},
    {"%nsmid", Special::nsmid},
    {"%gridid", Special::gridid},
    {"%clusterid.x", Special::clusterid_x},
    {"%clusterid.y", Special::clusterid_y},
    {"%clusterid.z", Special::clusterid_z},
    {"%nclusterid.x", Special::nclusterid_x},
    {"%nclusterid.y", Special::nclusterid_y},
    {"%nclusterid.z", Special::nclusterid_z},
    {"%cluster_ctaid.x", Special::cluster_ctaid_x},
    {"%cluster_ctaid.y", Special::cluster_ctaid_y},
    {"%cluster_ctaid.z", Special::cluster_ctaid_z},
    {"%cluster_nctaid.x", Special::cluster_nctaid_x},
    {"%cluster_nctaid.y", Special::cluster_nctaid_y},
    {"%cluster_nctaid.z", Special::cluster_nctaid_z},
    {"%cluster_ctarank", Special::cluster_ctarank},
    {"%cluster_nctarank", Special::cluster_nctarank},
    {"%is_explicit_cluster", Special::is_explicit_cluster},
    {"%lanemask_eq", Special::lanemask_eq},
    {"%lanemask_le", Special::lanemask_le},
    {"%lanemask_lt", Special::lanemask_lt},
    {"%lanemask_ge", Special::lanemask_ge},
    {"%lanemask_gt", Special::lanemask_gt},
    {"%dynamic_smem_size", Special::dynamic_smem_size},
    {"%total_smem_size", Special::total_smem_size},
    {"%aggr_smem_size", Special::total_smem_size},
    {"%envreg1", Special::envreg1},
    {"%envreg2", Special::envreg2},
};

}  // namespace

const Special* special_named(std::string_view name) {
  for (auto& s : kSpecials)
    if (name == s.name) return &s.special;
  return nullptr;
}

bool Decoder::take(std::string_view mod) {
  for (size_t i = 0; i < mods_.size(); ++i)
    if (mods_[i] == mod) {
      mods_.erase(mods_.begin() + long(i));
      return true;
    }
  return false;
}
bool Decoder::has(std::string_view mod) const {
  for (const std::string& m : mods_)
    if (m == mod) return true;
  return false;
}
std::string_view Decoder::take_any(std::initializer_list<std::string_view> list) {
  for (std::string_view m : list)
    if (take(m)) return m;
  return {};
}
Type Decoder::take_type() {
  for (size_t i = 0; i < mods_.size(); ++i)
    if (Type t = ptx::type_named(mods_[i]); t != Type::none) {
      mods_.erase(mods_.begin() + long(i));
      return t;
    }
  unsupported("a type is missing");
}
Space Decoder::take_space(Space otherwise) {
  if (take("global")) return Space::global;
  if (take("shared") || take("shared::cta")) return Space::shared;
  if (take("shared::cluster")) return Space::shared_cluster;
  if (take("local")) return Space::local;
  if (take("param") || take("param::entry") || take("param::func")) return Space::param;
  if (take("const")) return Space::constant;
  return otherwise;
}
void Decoder::unsupported(const std::string& why) const { fail("unsupported instruction form%s%s", why.empty() ? "" : ": ", why.c_str()); }
const Operand& Decoder::operand(size_t i) const {
  if (i >= statement.operands.size()) unsupported("too few operands");
  return statement.operands[i];
}
bool Decoder::is_predicate(const Operand& o) const { return register_type(o) == Type::pred; }
Type Decoder::register_type(const Operand& o) const {
  return o.kind == Operand::Register ? lowering_.body_->function->registers[size_t(o.index)].type : Type::none;
}
bool Decoder::wide(const Operand& o) const { return o.kind == Operand::Register && is_wide(register_type(o)); }

uint32_t Decoder::source(const Operand& o, Type t) {
  switch (o.kind) {
    case Operand::Register: {
      const Type declared = register_type(o);
      if (!o.name.empty()) unsupported("part " + o.name + " of a register");
      if ((declared == Type::pred) != (t == Type::pred)) unsupported("an operand is or is not a predicate");
      if (t != Type::pred && is_wide(declared) != is_wide(t)) unsupported("operand width does not match the type");
      if (o.negated) unsupported("negated operand");
      return lowering_.body_->slots[size_t(o.index)];
    }
    case Operand::Immediate: {
      uint64_t b = o.bits;
      if (o.is_f32 && t == Type::f64) {
        double d = __builtin_bit_cast(float, uint32_t(b));
        memcpy(&b, &d, 8);
      } else if (o.is_float && t == Type::f32) {
        double d;
        memcpy(&d, &b, 8);
        b = __builtin_bit_cast(uint32_t, float(d));
      } else if (ptx::bits(t) == 16) {
        b &= 0xffff;
      }
      return lowering_.constant(b, t);
    }
    case Operand::Symbol: {
      int64_t offset = 0;
      const uint32_t base = symbol(o, is_wide(t), &offset);
      if (offset) unsupported("address with a run-time base and an offset");
      return base;
    }
    case Operand::Special: {
      if (o.name == "%clock" || o.name == "%clock64" || o.name.starts_with("%globaltimer")) unsupported("only mov reads " + o.name);
      if (o.name.starts_with("%reserved_smem_offset_")) return lowering_.constant(lowering_.reserved_offset(o.name.substr(22)), t);
      if (o.name.starts_with("%pm") || o.name == "%current_graph_exec") return lowering_.constant(0, t);  // nothing is counted
      const uint32_t slot = lowering_.special(o.name);
      if (slot == kNone && o.name.starts_with("%envreg")) return lowering_.constant(0, t);  // the driver's own
      if (slot == kNone) unsupported("unknown special register " + o.name);
      return slot;
    }
    case Operand::Sink:
      return kNone;
    default:
      unsupported("unexpected kind of operand");
  }
}

// Addresses known only at run time (dynamic shared memory, stack frames) leave an offset to add.
uint32_t Decoder::symbol(const Operand& o, bool wide, int64_t* offset) {
  *offset = 0;
  if (lowering_.is_dynamic(o.name)) {
    *offset = o.offset;
    return lowering_.dynamic_slot(wide);
  }
  const Type t = wide ? Type::b64 : Type::b32;
  if (const Place* p = lowering_.find(o.name)) {
    if (p->frame == kNone) return lowering_.constant(p->address + uint64_t(o.offset), t);
    if (!wide) unsupported("32-bit address of a variable on the stack");
    *offset = int64_t(p->address) + o.offset;
    return p->frame;
  }
  if (lowering_.module().function_number(o.name) < 0) unsupported("unknown name '" + o.name + "'");
  return lowering_.constant(symbol_address(lowering_.module(), {}, o.name), t);
}

uint32_t Decoder::dest(const Operand& o) {
  if (o.kind == Operand::Sink) return kNone;
  if (o.kind != Operand::Register) unsupported("the destination is not a register");
  if (!o.name.empty()) unsupported("part " + o.name + " of a register");
  return lowering_.body_->slots[size_t(o.index)];
}

uint32_t Decoder::predicate(size_t i, bool* negated) {
  Operand o = operand(i);
  *negated = std::exchange(o.negated, false);
  return source(o, Type::pred);
}

int64_t Decoder::constant(size_t i) const {
  const Operand& o = operand(i);
  if (o.kind != Operand::Immediate) unsupported("an operand must be a constant");
  return int64_t(o.bits);
}

uint32_t Decoder::address(const Operand& o, Space space) {
  if (o.kind != Operand::Address) unsupported("expected an address in brackets");
  const Operand& base = o.parts[0];
  instr.imm = o.offset;
  instr.space = uint8_t(space);
  if (base.kind == Operand::Symbol) {
    const Place* p = lowering_.find(base.name);
    if (space == Space::param && p && p->space == Space::local) instr.space = uint8_t(Space::local);
    instr.wide = !lowering_.is_dynamic(base.name);
    int64_t offset = 0;
    const uint32_t r = symbol(base, instr.wide, &offset);
    instr.imm += offset;
    return r;
  }
  instr.wide = base.kind == Operand::Immediate || wide(base);
  return source(base, instr.wide ? Type::b64 : Type::b32);
}

void Decoder::emit(Handler h, const std::vector<uint32_t>& operands) {
  auto storage = std::make_unique<uint32_t[]>(operands.size() + 1);
  std::copy(operands.begin(), operands.end(), storage.get());
  instr.run = h;
  instr.r = storage.get();
  lowering_.program_->operand_storage.push_back(std::move(storage));
}

void Decoder::label(size_t i) {
  const Operand& o = operand(i);
  if (o.kind != Operand::Symbol || o.index < 0) unsupported("unknown label '" + o.name + "'");
  lowering_.body_->branches.push_back({uint32_t(lowering_.program_->code.size()), o.index});
}

void Decoder::branch_table(size_t i) {
  const Operand& o = operand(i);
  for (const ptx::BranchTable& t : lowering_.body_->function->tables)
    if (t.name == o.name) {
      auto& owner = lowering_.program_->branch_tables.emplace_back(std::make_unique<std::vector<uint32_t>>());
      lowering_.body_->tables.push_back({owner.get(), &t});
      instr.flags = reinterpret_cast<uint64_t>(owner.get());
      return;
    }
  unsupported("unknown list of branch targets '" + o.name + "'");
}

uint32_t Decoder::carry() { return lowering_.carry(); }
uint32_t Decoder::scratch_predicate() { return lowering_.new_register(Type::pred); }

void Decoder::uses_async_proxy() { lowering_.program_->uses_async_proxy = true; }

}  // namespace sim
