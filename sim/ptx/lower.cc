// Lowers a parsed kernel to a Program: lays out registers, shared and local memory, expands
// calls in place, and decodes every instruction by the family tables.
#include <unordered_map>

#include "sim/ptx/decode.h"

namespace sim {

using ptx::Function;
using ptx::Statement;
using ptx::Variable;

namespace {

struct Place {  // where a variable is
  Space space;
  uint64_t address;
};

// One expansion of a function body.
struct Instance {
  const Function* function;
  const Instance* caller;
  std::vector<uint32_t> slots;  // register number -> offset in the register file
  std::unordered_map<std::string, Place> variables;
  std::vector<uint32_t> start;                     // statement -> first instruction
  std::vector<std::pair<uint32_t, int>> branches;  // instruction, label
  std::vector<uint32_t> returns;                   // instructions that jump to the end
};

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
};

const std::unordered_map<std::string_view, const Family*>& family_table() {
  static const auto table = [] {
    std::unordered_map<std::string_view, const Family*> t;
    for (auto list : all_families())
      for (const Family& f : list) t[f.opcode] = &f;
    return t;
  }();
  return table;
}

void branch_always(Warp& w, const Instr& i) { w.branch(i.target); }
void exit_now(Warp& w, const Instr&) { w.exit_lanes(w.mask); }

}  // namespace

std::vector<std::span<const Family>> all_families() {
  return {integer_families(), float_families(), convert_families(), memory_families(), control_families(),
          warp_families(),    async_families(), bulk_families(),    matrix_families(), wgmma_families()};
}

class Lowering {
 public:
  Lowering(const ptx::Module& m, const Function& f, const SymbolTable& globals) : module_(m), globals_(globals) {
    program_ = std::make_unique<Program>();
    program_->module = &m;
    program_->function = &f;
  }

  std::unique_ptr<Program> run() {
    const Function& f = *program_->function;
    Instance main{&f, nullptr, {}, {}, {}, {}, {}};
    place_params(main);
    place_module_shared();
    expand(main);
    program_->local_bytes = uint32_t(round_up(local_, 16));
    return std::move(program_);
  }

  uint32_t new_register(Type t) {
    std::vector<uint8_t>& image = program_->image;
    const size_t size = t == Type::pred ? 4 : is_wide(t) ? 256 : 128;
    if (ptx::bits(t) == 128) fail(".b128 registers are not supported");
    const size_t at = t == Type::pred ? image.size() : round_up(image.size(), 64);
    image.resize(at + size, 0xff);  // poison: every floating-point type reads it as NaN
    return uint32_t(at);
  }

  uint32_t constant(uint64_t bits, Type t) {
    auto [it, fresh] = constants_.try_emplace({bits, is_wide(t) ? 64 : t == Type::pred ? 1 : 32}, 0);
    if (fresh) {
      it->second = new_register(t);
      uint8_t* p = &program_->image[it->second];
      if (t == Type::pred) {
        uint32_t mask = bits ? ~0u : 0;
        memcpy(p, &mask, 4);
      } else {
        for (int l = 0; l < 32; ++l) memcpy(p + l * (is_wide(t) ? 8 : 4), &bits, is_wide(t) ? 8 : 4);
      }
    }
    return it->second;
  }

  uint32_t special(const std::string& name) {
    for (auto& s : kSpecials)
      if (name == s.name) return special(s.special);
    return kNone;
  }
  uint32_t special(Special s) {
    for (auto& [which, slot] : program_->specials)
      if (which == s) return slot;
    program_->specials.push_back({s, new_register(s == Special::dynamic_smem_base64 ? Type::b64 : Type::b32)});
    return program_->specials.back().second;
  }

  // Where a name is; null if it is no variable.
  const Place* find(const std::string& name) {
    if (auto it = instance_->variables.find(name); it != instance_->variables.end()) return &it->second;
    if (auto it = shared_.find(name); it != shared_.end()) return &it->second;
    if (auto it = globals_.find(name); it != globals_.end()) {
      found_ = {Space::global, it->second};
      return &found_;
    }
    return nullptr;
  }

  Instance* instance_ = nullptr;
  std::unique_ptr<Program> program_;
  const ptx::Module& module_;
  uint32_t dynamic_slot(bool wide) { return special(wide ? Special::dynamic_smem_base64 : Special::dynamic_smem_base); }
  bool is_dynamic(const std::string& name) const { return dynamic_.count(name) != 0; }

 private:
  void place_params(Instance& main) {
    uint32_t at = 0;
    for (const Variable& v : main.function->params) {
      at = uint32_t(round_up(at, v.align));
      program_->param_offsets.push_back(at);
      program_->param_sizes.push_back(uint32_t(v.size));
      at += uint32_t(v.size);
    }
    program_->params.assign(at + 128, 0);
    uint8_t* base = program_->params.data();
    base += round_up(reinterpret_cast<uintptr_t>(base), 128) - reinterpret_cast<uintptr_t>(base);
    for (size_t i = 0; i < main.function->params.size(); ++i) {
      program_->param_offsets[i] += uint32_t(base - program_->params.data());
      main.variables[main.function->params[i].name] = {Space::param,
                                                       reinterpret_cast<uint64_t>(program_->params.data()) + program_->param_offsets[i]};
    }
    program_->shared_end = kSharedBase;
  }

  void place_module_shared() {
    for (const Variable& v : module_.variables)
      if (v.space == Space::shared) place_shared(v, shared_);
  }

  void place_shared(const Variable& v, std::unordered_map<std::string, Place>& names) {
    if (v.external) {
      dynamic_[v.name] = true;
      program_->dynamic_align = std::max(program_->dynamic_align, v.align);
      return;
    }
    // Leave a gap so that an overrun does not silently hit the neighbour.
    const uint32_t at = uint32_t(round_up(program_->shared_end + 64, std::max<uint32_t>(v.align, 16)));
    program_->shared.push_back({v.name, at, uint32_t(at + v.size)});
    program_->static_shared = uint32_t(round_up(program_->static_shared, v.align) + v.size);
    program_->shared_end = uint32_t(at + v.size);
    names[v.name] = {Space::shared, at};
  }

  void expand(Instance& in) {
    for (const Instance* c = in.caller; c; c = c->caller)
      if (c->function == in.function) fail("recursive call of %s", in.function->name.c_str());
    const Function& f = *in.function;
    Instance* outer = std::exchange(instance_, &in);
    for (const ptx::Register& r : f.registers) in.slots.push_back(new_register(r.type));
    for (const Variable& v : f.variables) {
      if (v.space == Space::shared)
        place_shared(v, in.caller ? shared_ : in.variables);
      else if (v.space == Space::local || v.space == Space::param)
        in.variables[v.name] = {Space::local, place_local(v)};
      else
        fail("variable %s: unsupported state space in a function", v.name.c_str());
    }
    for (const Statement& s : f.body) {
      in.start.push_back(uint32_t(program_->code.size()));
      try {
        lower_statement(s);
      } catch (const Error& e) {
        if (std::string_view(e.what()).find("\n  in ") != std::string_view::npos) throw;
        fail("%s\n  in '%.*s' at %s", e.what(), int(std::min<size_t>(s.text.size(), 300)), s.text.data(), module_.where(s).c_str());
      }
    }
    const uint32_t end = uint32_t(program_->code.size());
    in.start.push_back(end);
    if (!in.caller) append(f.body.empty() ? nullptr : &f.body.back()).run = exit_now;
    for (auto [at, label] : in.branches) program_->code[at].target = in.start[size_t(f.labels[size_t(label)])];
    for (uint32_t at : in.returns) program_->code[at].target = end;
    instance_ = outer;
  }

  uint64_t place_local(const Variable& v) {
    local_ = round_up(local_, std::max<uint32_t>(v.align, 8));
    const uint64_t at = local_;
    local_ += v.size;
    return at;
  }

  Instr& append(const Statement* s) {
    Instr& i = program_->code.emplace_back();
    i.source = s;
    if (s && s->guard >= 0) {
      i.guard = instance_->slots[size_t(s->guard)];
      i.guard_negated = s->guard_negated;
    }
    return i;
  }

  void lower_statement(const Statement& s) {
    if (s.opcode == "call") return call(s);
    if (s.opcode == "ret" && instance_->caller) {
      instance_->returns.push_back(uint32_t(program_->code.size()));
      append(&s).run = branch_always;
      return;
    }
    auto it = family_table().find(s.opcode);
    if (it == family_table().end()) fail("unknown instruction '%s'", s.opcode.c_str());
    Instr instr;
    instr.source = &s;
    if (s.guard >= 0) {
      instr.guard = instance_->slots[size_t(s.guard)];
      instr.guard_negated = s.guard_negated;
    }
    Decoder d(*this, instr, s);
    it->second->decode(d);
    if (!d.mods_.empty()) {
      std::string left;
      for (const std::string& m : d.mods_) left += " ." + m;
      d.unsupported("unknown or unsupported modifiers" + left);
    }
    if (!instr.run) fail("internal: '%s' has no handler", s.opcode.c_str());
    program_->code.push_back(instr);
  }

  // 9.7.12.4 call: the callee's body is expanded here.
  void call(const Statement& s) {
    const Operand* target = nullptr;
    std::vector<const Operand*> lists;
    for (const Operand& o : s.operands)
      if (o.kind == Operand::Symbol && !target)
        target = &o;
      else if (o.kind == Operand::Vector)
        lists.push_back(&o);
    const Function* f = target ? module_.find(target->name) : nullptr;
    if (!f) fail("indirect call or unknown function");
    const Operand* results = f->returns.empty() ? nullptr : lists.at(0);
    const size_t arguments = f->returns.empty() ? 0 : 1;
    if (!f->has_body) {
      Handler h = system_call(f->name);
      if (!h) fail("call of %s, which has no body", f->name.c_str());
      std::vector<uint32_t> r;
      for (size_t list : {arguments, size_t(0)})
        if (list < lists.size() && (list == arguments || results))
          for (const Operand& o : lists[list]->parts) {
            const Place* p = find(o.name);
            if (!p || p->space != Space::local) fail("call of %s: argument is not a .param variable", f->name.c_str());
            r.push_back(uint32_t(p->address));
          }
      r.push_back(kNone);
      Instr& i = append(&s);
      Decoder(*this, i, s).emit(h, r);
      return;
    }
    auto callee = std::make_unique<Instance>(Instance{f, instance_, {}, {}, {}, {}, {}});
    auto bind = [&](const std::vector<Variable>& formal, const Operand* actual) {
      for (size_t i = 0; i < formal.size(); ++i) {
        const Place* p = actual && i < actual->parts.size() ? find(actual->parts[i].name) : nullptr;
        if (!p) fail("call of %s: argument %zu is not a .param variable", f->name.c_str(), i);
        callee->variables[formal[i].name] = *p;
      }
    };
    bind(f->returns, results);
    bind(f->params, arguments < lists.size() ? lists[arguments] : nullptr);
    uint32_t skip = kNone;
    if (s.guard >= 0) {  // @p call: lanes without p jump over the body
      skip = uint32_t(program_->code.size());
      Instr& i = append(&s);
      i.run = branch_always;
      i.guard_negated = !i.guard_negated;
    }
    expand(*callee);
    if (skip != kNone) program_->code[skip].target = uint32_t(program_->code.size());
  }

  const SymbolTable& globals_;
  std::map<std::pair<uint64_t, int>, uint32_t> constants_;
  std::unordered_map<std::string, Place> shared_;
  std::unordered_map<std::string, bool> dynamic_;
  Place found_;
  uint64_t local_ = 0;
};

std::unique_ptr<Program> lower(const ptx::Module& m, const Function& entry, const SymbolTable& globals) {
  return Lowering(m, entry, globals).run();
}

// ------------------------------------------------------------------------------------- Decoder

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
  return o.kind == Operand::Register ? lowering_.instance_->function->registers[size_t(o.index)].type : Type::none;
}
bool Decoder::wide(const Operand& o) const { return o.kind == Operand::Register && is_wide(register_type(o)); }

uint32_t Decoder::source(const Operand& o, Type t) {
  switch (o.kind) {
    case Operand::Register: {
      const Type declared = register_type(o);
      if ((declared == Type::pred) != (t == Type::pred)) unsupported("operand '" + o.name + "' is or is not a predicate");
      if (t != Type::pred && is_wide(declared) != is_wide(t)) unsupported("operand width does not match the type");
      if (o.negated) unsupported("negated operand");
      return lowering_.instance_->slots[size_t(o.index)];
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
      if (lowering_.is_dynamic(o.name)) {
        if (o.offset) unsupported("offset address of dynamic shared memory");
        return lowering_.dynamic_slot(is_wide(t));
      }
      const auto* p = lowering_.find(o.name);
      if (!p) unsupported("unknown name '" + o.name + "'");
      return lowering_.constant(p->address + uint64_t(o.offset), t);
    }
    case Operand::Special: {
      if (o.name == "%clock" || o.name == "%clock64" || o.name.starts_with("%globaltimer")) unsupported("only mov reads " + o.name);
      const uint32_t slot = lowering_.special(o.name);
      if (slot == kNone) unsupported("unknown special register " + o.name);
      return slot;
    }
    case Operand::Sink:
      return kNone;
    default:
      unsupported("unexpected kind of operand");
  }
}

uint32_t Decoder::dest(const Operand& o) {
  if (o.kind == Operand::Sink) return kNone;
  if (o.kind != Operand::Register) unsupported("the destination is not a register");
  return lowering_.instance_->slots[size_t(o.index)];
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
  instr.imm = o.offset + (base.kind == Operand::Symbol ? base.offset : 0);
  instr.space = uint8_t(space);
  if (base.kind == Operand::Symbol) {
    if (lowering_.is_dynamic(base.name)) {
      instr.wide = false;
      return lowering_.dynamic_slot(false);
    }
    const auto* p = lowering_.find(base.name);
    if (!p) unsupported("unknown name '" + base.name + "'");
    if (space == Space::param && p->space == Space::local) instr.space = uint8_t(Space::local);
    instr.wide = true;
    return lowering_.constant(p->address, Type::b64);
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
  if (o.kind != Operand::Symbol || o.index < 0) unsupported("unknown label");
  lowering_.instance_->branches.push_back({uint32_t(lowering_.program_->code.size()), o.index});
}

void Decoder::uses_async_proxy() { lowering_.program_->uses_async_proxy = true; }

}  // namespace sim
