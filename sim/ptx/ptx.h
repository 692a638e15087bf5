// A parsed PTX module: what the text says, names resolved, nothing interpreted yet.
#pragma once

#include <map>
#include <memory>
#include <string_view>

#include "sim/ptx/common.h"

namespace sim::ptx {

// 5.2 Types
enum class Type : uint8_t {
  none,
  pred,
  b8,
  b16,
  b32,
  b64,
  b128,
  u8,
  u16,
  u32,
  u64,
  s8,
  s16,
  s32,
  s64,
  f16,
  f16x2,
  bf16,
  bf16x2,
  tf32,
  f32,
  f64,
  e4m3x2,
  e5m2x2,
  e4m3,
  e5m2,
  u4,
  s4,
  u16x2,
  s16x2,
  b1,
  b1024,
  f32x2,
  e2m1,
  e2m3,
  e3m2,
  ue8m0,
  e2m1x2,
  e2m3x2,
  e3m2x2,
  ue8m0x2
};
int bits(Type t);
Type type_named(std::string_view name);  // Type::none if it is not a type

inline bool is_signed(Type t) { return t >= Type::s8 && t <= Type::s64; }
inline bool is_integer(Type t) { return t >= Type::b8 && t <= Type::s64; }
inline bool is_float(Type t) { return t >= Type::f16 && t <= Type::f64; }

// 5.1 State Spaces
enum class Space : uint8_t { generic, global, shared, shared_cluster, local, param, constant };

// A pointer in an initializer: `bytes` bytes at `offset` hold (address of `name` + addend) >> shift.
struct Relocation {
  uint64_t offset;
  uint32_t bytes, shift;
  std::string name;
  int64_t addend;
};

struct Variable {
  std::string name;
  Space space = Space::generic;
  Type type = Type::none;
  uint32_t align = 1;
  uint64_t size = 0;  // bytes; 0 for extern arrays of unknown size
  bool external = false;
  std::vector<uint8_t> init;
  std::vector<Relocation> relocations;
};

struct Operand {
  enum Kind : uint8_t { None, Register, Immediate, Symbol, Special, Address, Vector, Pair, Label, Sink } kind = None;
  bool negated = false;        // !p, or -%f (immediates are folded)
  bool is_float = false;       // Immediate written as a floating-point literal; `bits` holds a double
  bool is_f32 = false;         // Immediate written 0fXXXXXXXX; `bits` holds the 32 bits
  int index = -1;              // Register: number in the function; Label: number in the function
  uint64_t bits = 0;           // Immediate
  int64_t offset = 0;          // Address, Symbol
  std::string name;            // Symbol, Special, Label; Register: a part of it (.b0, .h1, .x)
  std::vector<Operand> parts;  // Address: base [, vector of coordinates]; Vector: elements; Pair: a|b
};

struct Statement {
  std::string opcode;             // "cp"
  std::vector<std::string> mods;  // "async", "cg", "shared", "global"
  std::vector<Operand> operands;
  int guard = -1;  // predicate register of @p
  bool guard_negated = false;
  int line = 0;                   // in the PTX text
  int file = 0, source_line = 0;  // from .loc
  int inlined_file = 0, inlined_line = 0;
  std::string_view text;  // the instruction, for messages
};

struct Register {
  std::string name;
  Type type;
};

struct BranchTable {  // .branchtargets of brx.idx
  std::string name;
  std::vector<int> labels;  // numbers in the function
};

struct Function {
  std::string name;
  bool entry = false, has_body = false;
  std::vector<Variable> params, returns;
  std::vector<Variable> variables;  // .shared, .local and .param declared in the body
  std::vector<Register> registers;
  std::vector<Statement> body;
  std::vector<int> labels;  // label number -> index in body
  std::vector<std::string> label_names;
  std::vector<BranchTable> tables;
  uint32_t max_threads = 0;         // .maxntid / .reqntid
  uint32_t cluster[3] = {0, 0, 0};  // .reqnctapercluster
};

struct Module {
  std::string text;
  std::string target;  // sm_90a
  std::vector<Variable> variables;
  std::vector<std::unique_ptr<Function>> functions;
  std::map<int, std::string> files;  // .file

  const Function* find(std::string_view name) const;
  int function_number(std::string_view name) const;  // its place in `functions`; -1 if there is none
  std::string where(const Statement& s) const;       // "matmul.cu:42 (PTX line 310)"
};

std::unique_ptr<Module> parse(std::string text);

}  // namespace sim::ptx
