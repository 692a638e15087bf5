// From a parsed kernel to a Program: the state that lowering and the instruction decoders share.
#pragma once

#include <unordered_map>

#include "sim/ptx/decode.h"

namespace sim {

struct Place {  // where a variable is
  Space space = Space::generic;
  uint64_t address = 0;
  uint32_t frame = kNone;  // register that is added to the address
};

// One function while its body is lowered.
struct Body {
  const ptx::Function* function;
  FunctionCode* code;
  std::vector<uint32_t> slots;  // register number -> offset in the register file
  std::unordered_map<std::string, Place> variables;
  std::vector<uint32_t> start;                     // statement -> first instruction
  std::vector<std::pair<uint32_t, int>> branches;  // instruction, label
  std::vector<std::pair<std::vector<uint32_t>*, const ptx::BranchTable*>> tables;
};

void record_forms(const Program& p);

class Lowering {
 public:
  Lowering(const ptx::Module& m, const ptx::Function& f, const SymbolTable& globals);
  std::unique_ptr<Program> run();

  uint32_t new_register(Type t);
  uint32_t constant(uint64_t bits, Type t);
  uint32_t special(const std::string& name);  // kNone: there is no such special register
  uint32_t special(Special s);
  uint32_t reserved_offset(const std::string& which);  // %reserved_smem_offset_...
  uint32_t carry();                                    // the condition code: a predicate
  const Place* find(const std::string& name);          // null: no variable
  uint32_t dynamic_slot(bool wide) { return special(wide ? Special::dynamic_smem_base64 : Special::dynamic_smem_base); }
  bool is_dynamic(const std::string& name) const { return dynamic_.count(name) != 0; }
  const ptx::Module& module() const { return module_; }

  Body* body_ = nullptr;
  std::unique_ptr<Program> program_;

 private:
  void place_params(Body& main);
  void place_module_shared();
  void place_shared(const ptx::Variable& v, std::unordered_map<std::string, Place>& names);
  void place_frame(Body& b);
  void lower_function(const ptx::Function& f);
  void lower_callees(const ptx::Function& f);
  void lower_statement(const ptx::Statement& s);
  void call(const ptx::Statement& s);
  std::vector<FrameSlot> frame_slots(const std::string& callee, const Operand* list);
  Instr& append(const ptx::Statement* s);
  uint32_t stack_bytes() const;

  const ptx::Module& module_;
  const SymbolTable& globals_;
  std::map<std::pair<uint64_t, int>, uint32_t> constants_;
  std::unordered_map<std::string, Place> shared_;
  std::unordered_map<std::string, bool> dynamic_;
  std::vector<uint8_t> visited_;  // by function number: 1 callees being lowered, 2 lowered
  bool indirect_ = false, unbounded_stack_ = false;
  uint32_t carry_ = kNone;
  Place found_;
};

}  // namespace sim
