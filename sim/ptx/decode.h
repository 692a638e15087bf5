// From a parsed instruction to a handler.  Each opcode has one entry in a family table;
// its decoder takes the modifiers it understands.  What is left over is an error, so no instruction
// form is ever skipped or approximated.
#pragma once

#include <initializer_list>
#include <span>

#include "sim/machine/machine.h"

namespace sim {

using ptx::Operand;
using ptx::Space;
using ptx::Type;

class Decoder;
struct Family {
  const char* opcode;
  void (*decode)(Decoder&);
  const char* section;  // of the PTX ISA manual
  const char* forms;    // supported forms, for the conformance table
};
std::span<const Family> integer_families();
std::span<const Family> float_families();
std::span<const Family> convert_families();
std::span<const Family> memory_families();
std::span<const Family> control_families();
std::span<const Family> warp_families();
std::span<const Family> async_families();
std::span<const Family> bulk_families();
std::span<const Family> matrix_families();
std::span<const Family> wgmma_families();
std::vector<std::span<const Family>> all_families();

// Handler of a function without a body (sim/ops/system.cc); its operands are the local addresses of the
// arguments, then of the result.  Null if it is unknown.
Handler system_call(std::string_view name);

// Decodes one statement.
class Decoder {
 public:
  Instr& instr;
  const ptx::Statement& statement;

  // -- modifiers --
  bool take(std::string_view mod);
  std::string_view take_any(std::initializer_list<std::string_view> mods);  // "" if none is present
  void ignore(std::initializer_list<std::string_view> mods) {
    for (auto m : mods) take(m);
  }
  void need(std::string_view mod) {
    if (!take(mod)) unsupported(std::string("no .") + std::string(mod));
  }
  Type take_type();  // the first modifier that is a type
  Space take_space(Space otherwise = Space::generic);
  bool has(std::string_view mod) const;
  [[noreturn]] void unsupported(const std::string& why = "") const;

  // -- operands --
  size_t count() const { return statement.operands.size(); }
  const Operand& operand(size_t i) const;
  uint32_t source(const Operand& o, Type t);
  uint32_t source(size_t i, Type t) { return source(operand(i), t); }
  uint32_t dest(const Operand& o);  // kNone for _
  uint32_t dest(size_t i) { return dest(operand(i)); }
  uint32_t predicate(size_t i, bool* negated);
  int64_t constant(size_t i) const;  // an operand that must be an immediate
  bool is_immediate(size_t i) const { return operand(i).kind == Operand::Immediate; }
  bool is_predicate(const Operand& o) const;
  // The base register of [base + offset]; sets instr.imm, instr.wide and instr.space.
  uint32_t address(const Operand& o, Space space);
  uint32_t address(size_t i, Space space) { return address(operand(i), space); }
  bool wide(const Operand& o) const;  // a 64-bit register (or symbol of a 64-bit space)
  Type register_type(const Operand& o) const;

  void emit(Handler h, const std::vector<uint32_t>& operands);
  void label(size_t i);  // branch target
  void uses_async_proxy();

 private:
  friend class Lowering;
  Decoder(class Lowering& l, Instr& i, const ptx::Statement& s) : instr(i), statement(s), lowering_(l), mods_(s.mods) {}
  class Lowering& lowering_;
  std::vector<std::string> mods_;
};

inline bool is_wide(Type t) { return ptx::bits(t) == 64; }

}  // namespace sim
