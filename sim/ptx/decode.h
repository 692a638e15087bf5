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
std::span<const Family> bits_families();
std::span<const Family> logic_families();
std::span<const Family> carry_families();
std::span<const Family> float_families();
std::span<const Family> convert_families();
std::span<const Family> move_families();
std::span<const Family> compare_families();
std::span<const Family> memory_families();
std::span<const Family> atomic_families();
std::span<const Family> fence_families();
std::span<const Family> control_families();
std::span<const Family> call_families();
std::span<const Family> warp_families();
std::span<const Family> async_families();
std::span<const Family> mbarrier_families();
std::span<const Family> tensormap_families();
std::span<const Family> matrix_families();
std::span<const Family> mma_families();
std::span<const Family> wgmma_families();
std::span<const Family> wmma_families();
std::span<const Family> video_families();
std::vector<std::span<const Family>> all_families();

// Handler of a function without a body (sim/ops/system.cc); its operands are the local addresses of the
// arguments, then of the result, relative to the frame register Instr::target.  Null if it is unknown.
Handler system_call(std::string_view name);
// Handlers of call and of ret in a function (sim/ops/call.cc).
Handler call_handler();
Handler return_handler();

const Special* special_named(std::string_view name);  // null: there is no such register

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

  // The register that holds a symbol's address; *offset is still to be added.
  uint32_t symbol(const Operand& o, bool wide, int64_t* offset);

  void emit(Handler h, const std::vector<uint32_t>& operands);
  void label(size_t i);          // branch target
  void branch_table(size_t i);   // sets instr.flags to the vector of targets
  uint32_t carry();              // the condition code of add.cc and its kin: a predicate
  uint32_t scratch_predicate();  // a register of this instruction's own
  void uses_async_proxy();

 private:
  friend class Lowering;
  Decoder(class Lowering& l, Instr& i, const ptx::Statement& s) : instr(i), statement(s), lowering_(l), mods_(s.mods) {}
  class Lowering& lowering_;
  std::vector<std::string> mods_;
};

// From the low half of a .b128 register to its high half.
constexpr uint32_t kHighHalf = 256;

inline bool is_wide(Type t) { return ptx::bits(t) == 64; }

}  // namespace sim
