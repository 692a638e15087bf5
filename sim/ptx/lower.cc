// Lowers a parsed kernel and the functions it calls to a Program: lays out registers, shared memory and stack
// frames, and decodes every instruction by the family tables.
#include <algorithm>

#include "sim/ptx/lowering.h"

namespace sim {

using ptx::Function;
using ptx::Statement;
using ptx::Variable;

namespace {

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

// Function numbers whose address the module takes: in code or in the initial value of a variable.
std::vector<int> address_taken(const ptx::Module& m) {
  std::vector<int> numbers;
  auto note = [&](const std::string& name) {
    if (const int k = m.function_number(name); k >= 0) numbers.push_back(k);
  };
  for (const Variable& v : m.variables)
    for (const ptx::Relocation& r : v.relocations) note(r.name);
  for (const auto& f : m.functions)
    for (const Statement& s : f->body)
      if (s.opcode == "mov")
        for (const Operand& o : s.operands)
          if (o.kind == Operand::Symbol) note(o.name);
  return numbers;
}

// 9.7.12.5 call: the operand that names the callee, and the parenthesised lists around it.
struct CallOperands {
  const Operand* target = nullptr;
  std::vector<const Operand*> before, after;
};
CallOperands call_operands(const Statement& s) {
  CallOperands c;
  for (const Operand& o : s.operands)
    if (o.kind == Operand::Vector)
      (c.target ? c.after : c.before).push_back(&o);
    else if (!c.target)
      c.target = &o;
  return c;
}

}  // namespace

std::vector<std::span<const Family>> all_families() {
  return {integer_families(), bits_families(),    logic_families(),  carry_families(),    float_families(),     convert_families(),
          move_families(),    compare_families(), memory_families(), atomic_families(),   fence_families(),     control_families(),
          call_families(),    warp_families(),    async_families(),  mbarrier_families(), tensormap_families(), matrix_families(),
          mma_families(),     wgmma_families(),   wmma_families(),   video_families()};
}

uint64_t symbol_address(const ptx::Module& m, const SymbolTable& globals, const std::string& name) {
  if (auto it = globals.find(name); it != globals.end()) return it->second;
  const int k = m.function_number(name);
  if (k < 0) fail("unknown name '%s'", name.c_str());
  return kCodeWindow + 16 * uint64_t(k + 1);
}

void relocate(const ptx::Module& m, const SymbolTable& globals) {
  for (const Variable& v : m.variables)
    for (const ptx::Relocation& r : v.relocations) {
      const uint64_t value = (symbol_address(m, globals, r.name) + uint64_t(r.addend)) >> r.shift;
      memcpy(reinterpret_cast<uint8_t*>(globals.at(v.name)) + r.offset, &value, r.bytes);
    }
}

Lowering::Lowering(const ptx::Module& m, const Function& f, const SymbolTable& globals) : module_(m), globals_(globals) {
  program_ = std::make_unique<Program>();
  program_->module = &m;
  program_->function = &f;
  program_->functions.resize(m.functions.size());
  visited_.resize(m.functions.size());
}

std::unique_ptr<Program> Lowering::run() {
  const Function& f = *program_->function;
  place_module_shared();
  append(nullptr).run = branch_always;  // to the kernel, which follows the functions it calls
  // Callees come first: the scheduler runs the lowest program counter first, so lanes that are in a function
  // return before the others go on.
  lower_callees(f);
  for (const auto& taken = address_taken(module_); int k : indirect_ ? taken : std::vector<int>{})
    if (module_.functions[size_t(k)]->has_body && !module_.functions[size_t(k)]->entry && !visited_[size_t(k)]) {
      lower_callees(*module_.functions[size_t(k)]);
      lower_function(*module_.functions[size_t(k)]);
    }
  lower_function(f);
  program_->main = program_->functions[size_t(module_.function_number(f.name))].get();
  program_->code[0].target = program_->main->start;
  for (auto& c : program_->calls)
    if (c->target == kNone && !c->callee->function) fail("internal: a callee was not lowered");
  program_->local_bytes = stack_bytes();
  program_->unbounded_stack = unbounded_stack_;
  record_forms(*program_);
  analyse(*program_);
  return std::move(program_);
}

// Lowers what `f` calls, innermost first.
void Lowering::lower_callees(const Function& f) {
  uint8_t& visited = visited_[size_t(module_.function_number(f.name))];
  if (visited) return;
  visited = 1;
  for (const Statement& s : f.body) {
    if (s.opcode != "call") {
      if (s.opcode == "alloca") unbounded_stack_ = true;
      continue;
    }
    const CallOperands c = call_operands(s);
    const int k = c.target && c.target->kind == Operand::Symbol ? module_.function_number(c.target->name) : -1;
    if (k < 0) {
      indirect_ = unbounded_stack_ = true;
      continue;
    }
    if (visited_[size_t(k)] == 1) unbounded_stack_ = true;
    const Function& callee = *module_.functions[size_t(k)];
    if (!callee.has_body || visited_[size_t(k)]) continue;
    lower_callees(callee);
    lower_function(callee);
  }
  visited = 2;
}

// The deepest chain of frames, or a fixed size where the depth is not known.
uint32_t Lowering::stack_bytes() const {
  std::map<const FunctionCode*, uint32_t> depth;
  auto below = [&](auto&& self, const FunctionCode& f) -> uint32_t {
    if (auto it = depth.find(&f); it != depth.end()) return it->second;
    uint32_t most = 0;
    for (auto& c : program_->calls)
      if (c->caller == &f && c->callee) most = std::max(most, self(self, *c->callee));
    return depth[&f] = most + uint32_t(round_up(f.frame_bytes, 16));
  };
  if (unbounded_stack_) return uint32_t(round_up(program_->main->frame_bytes, 16)) + kStackBytes;
  return below(below, *program_->main);
}

uint32_t Lowering::new_register(Type t) {
  std::vector<uint8_t>& image = program_->image;
  const int bits = ptx::bits(t);
  const size_t size = t == Type::pred ? 4 : bits == 128 ? 512 : bits == 64 ? 256 : 128;
  const size_t at = t == Type::pred ? image.size() : round_up(image.size(), 64);
  image.resize(at + size, 0xff);  // poison: every floating-point type reads it as NaN
  return uint32_t(at);
}

uint32_t Lowering::constant(uint64_t bits, Type t) {
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

uint32_t Lowering::special(const std::string& name) {
  const Special* s = special_named(name);
  return s ? special(*s) : kNone;
}
uint32_t Lowering::special(Special s) {
  for (auto& [which, slot] : program_->specials)
    if (which == s) return slot;
  const uint32_t slot = new_register(s == Special::dynamic_smem_base64 ? Type::b64 : Type::b32);
  program_->specials.push_back({s, slot});
  return slot;
}
// 10. Special Registers: shared memory that the system keeps; cooperative groups use 288 bytes at offset_1.
uint32_t Lowering::reserved_offset(const std::string& which) {
  constexpr uint32_t first = 256, bytes = 288;
  if (which == "begin" || which == "0") return 0;
  if (which == "end" || which == "cap") return kSharedBase;
  if (which != "1") fail("unknown special register %%reserved_smem_offset_%s", which.c_str());
  for (const SharedObject& o : program_->shared)
    if (o.begin == first) return first;
  program_->shared.push_back({"reserved shared memory", first, first + bytes});
  return first;
}
uint32_t Lowering::carry() {
  if (carry_ == kNone) carry_ = new_register(Type::pred);
  return carry_;
}

const Place* Lowering::find(const std::string& name) {
  if (auto it = body_->variables.find(name); it != body_->variables.end()) return &it->second;
  if (auto it = shared_.find(name); it != shared_.end()) return &it->second;
  if (auto it = globals_.find(name); it != globals_.end()) {
    found_ = {Space::global, it->second, kNone};
    return &found_;
  }
  return nullptr;
}

// ----------------------------------------------------------------------------------------- layout

void Lowering::place_params(Body& main) {
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
    main.variables[main.function->params[i].name] = {
        Space::param, reinterpret_cast<uint64_t>(program_->params.data()) + program_->param_offsets[i], kNone};
  }
}

void Lowering::place_module_shared() {
  program_->shared_end = kSharedBase;
  for (const Variable& v : module_.variables)
    if (v.space == Space::shared) place_shared(v, shared_);
}

void Lowering::place_shared(const Variable& v, std::unordered_map<std::string, Place>& names) {
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
  names[v.name] = {Space::shared, at, kNone};
}

// A frame holds results, parameters, then the variables of the body.
void Lowering::place_frame(Body& b) {
  FunctionCode& code = *b.code;
  const Function& f = *b.function;
  auto place = [&](const Variable& v) {
    code.frame_bytes = uint32_t(round_up(code.frame_bytes, std::max<uint32_t>(v.align, 8)));
    b.variables[v.name] = {Space::local, code.frame_bytes, code.frame};
    const FrameSlot slot{code.frame_bytes, uint32_t(v.size)};
    code.frame_bytes += uint32_t(v.size);
    return slot;
  };
  if (f.entry) {
    place_params(b);
  } else {
    for (const Variable& v : f.returns) code.returns.push_back(place(v));
    for (const Variable& v : f.params) code.params.push_back(place(v));
  }
  for (const Variable& v : f.variables)
    if (v.space == Space::shared)
      place_shared(v, b.variables);
    else if (v.space == Space::local || v.space == Space::param)
      place(v);
    else
      fail("variable %s: unsupported state space in a function", v.name.c_str());
}

// ------------------------------------------------------------------------------------------- code

void Lowering::lower_function(const Function& f) {
  const size_t number = size_t(module_.function_number(f.name));
  auto& owner = program_->functions[number];
  if (!owner) owner = std::make_unique<FunctionCode>();
  FunctionCode& code = *owner;
  Body b{&f, &code, {}, {}, {}, {}, {}};
  body_ = &b;
  code.function = &f;
  code.start = uint32_t(program_->code.size());
  if (!f.entry) {
    code.frame = new_register(Type::b64);
    code.registers.push_back({code.frame, uint8_t(8)});
  }
  for (const ptx::Register& r : f.registers) {
    b.slots.push_back(new_register(r.type));
    const int bits = ptx::bits(r.type);
    code.registers.push_back({b.slots.back(), uint8_t(r.type == Type::pred ? 0 : bits >= 64 ? 8 : 4)});
    if (bits == 128) code.registers.push_back({b.slots.back() + 256, uint8_t(8)});
  }
  place_frame(b);
  for (const Statement& s : f.body) {
    b.start.push_back(uint32_t(program_->code.size()));
    try {
      lower_statement(s);
    } catch (const Error& e) {
      fail("%s\n  in '%.*s' at %s", e.what(), int(std::min<size_t>(s.text.size(), 300)), s.text.data(), module_.where(s).c_str());
    }
  }
  b.start.push_back(uint32_t(program_->code.size()));
  append(f.body.empty() ? nullptr : &f.body.back()).run = f.entry ? exit_now : return_handler();
  program_->code.back().guard = kNone;
  auto target = [&](int label) { return b.start[size_t(f.labels[size_t(label)])]; };
  for (auto [at, label] : b.branches) program_->code[at].target = target(label);
  for (auto [table, source] : b.tables)
    for (int label : source->labels) table->push_back(target(label));
  body_ = nullptr;
}

Instr& Lowering::append(const Statement* s) {
  Instr& i = program_->code.emplace_back();
  i.source = s;
  if (s && s->guard >= 0) {
    i.guard = body_->slots[size_t(s->guard)];
    i.guard_negated = s->guard_negated;
  }
  return i;
}

void Lowering::lower_statement(const Statement& s) {
  if (s.opcode == "call") return call(s);
  if (s.opcode == "ret" && !body_->function->entry) {
    append(&s).run = return_handler();
    return;
  }
  auto it = family_table().find(s.opcode);
  if (it == family_table().end()) fail("unknown instruction '%s'", s.opcode.c_str());
  Instr instr;
  instr.source = &s;
  if (s.guard >= 0) {
    instr.guard = body_->slots[size_t(s.guard)];
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

std::vector<FrameSlot> Lowering::frame_slots(const std::string& callee, const Operand* list) {
  std::vector<FrameSlot> slots;
  if (!list) return slots;
  for (const Operand& o : list->parts) {
    const Place* p = find(o.name);
    if (!p || p->space != Space::local) fail("call of %s: an argument is not a .param variable", callee.c_str());
    uint32_t bytes = 0;
    for (const Variable& v : body_->function->variables)
      if (v.name == o.name) bytes = uint32_t(v.size);
    for (const Variable& v : body_->function->params)
      if (v.name == o.name) bytes = uint32_t(v.size);
    slots.push_back({uint32_t(p->address), bytes});
  }
  return slots;
}

// 9.7.12.5 call.
void Lowering::call(const Statement& s) {
  const CallOperands c = call_operands(s);
  if (!c.target) fail("call without a callee");
  const std::string name = c.target->name;
  const Function* f = c.target->kind == Operand::Symbol ? module_.find(name) : nullptr;
  if (c.target->kind == Operand::Symbol && !f) fail("call of the unknown function %s", name.c_str());
  const Operand *results = c.before.empty() ? nullptr : c.before[0], *arguments = c.after.empty() ? nullptr : c.after[0];
  auto site = std::make_unique<CallSite>();
  site->caller = body_->code;
  site->params = frame_slots(name, arguments);
  site->returns = frame_slots(name, results);
  Instr& i = append(&s);
  if (f && !f->has_body) {
    const Handler h = system_call(f->name);
    if (!h) fail("call of %s, which has no body: separate compilation (-rdc) needs a linked module", f->name.c_str());
    std::vector<uint32_t> r;
    for (const auto* list : {&site->params, &site->returns})
      for (const FrameSlot& slot : *list) r.push_back(slot.offset);
    r.push_back(kNone);
    i.target = body_->code->frame;
    Decoder(*this, i, s).emit(h, r);
    return;
  }
  if (f) {
    auto& callee = program_->functions[size_t(module_.function_number(f->name))];
    if (!callee) callee = std::make_unique<FunctionCode>();  // a recursive call: its code follows
    if (f->params.size() != site->params.size() || f->returns.size() != site->returns.size())
      fail("call of %s with %zu arguments and %zu results; it has %zu and %zu", name.c_str(), site->params.size(), site->returns.size(),
           f->params.size(), f->returns.size());
    site->callee = callee.get();
  } else {
    site->target = Decoder(*this, i, s).source(*c.target, Type::b64);
  }
  i.run = call_handler();
  i.flags = reinterpret_cast<uint64_t>(site.get());
  program_->calls.push_back(std::move(site));
}

std::unique_ptr<Program> lower(const ptx::Module& m, const Function& entry, const SymbolTable& globals) {
  return Lowering(m, entry, globals).run();
}

}  // namespace sim
