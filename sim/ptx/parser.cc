// PTX text to ptx::Module (4. Syntax, 5. State Spaces and Types, 11. Directives).
#include <unordered_map>

#include "sim/ptx/lexer.h"

namespace sim::ptx {

namespace {

struct TypeName {
  const char* name;
  Type type;
  int bits;
};
constexpr TypeName kTypes[] = {
    {"pred", Type::pred, 1},     {"b8", Type::b8, 8},          {"b16", Type::b16, 16},       {"b32", Type::b32, 32},
    {"b64", Type::b64, 64},      {"b128", Type::b128, 128},    {"u8", Type::u8, 8},          {"u16", Type::u16, 16},
    {"u32", Type::u32, 32},      {"u64", Type::u64, 64},       {"s8", Type::s8, 8},          {"s16", Type::s16, 16},
    {"s32", Type::s32, 32},      {"s64", Type::s64, 64},       {"f16", Type::f16, 16},       {"f16x2", Type::f16x2, 32},
    {"bf16", Type::bf16, 16},    {"bf16x2", Type::bf16x2, 32}, {"tf32", Type::tf32, 32},     {"f32", Type::f32, 32},
    {"f64", Type::f64, 64},      {"e4m3x2", Type::e4m3x2, 16}, {"e5m2x2", Type::e5m2x2, 16}, {"e4m3", Type::e4m3, 8},
    {"e5m2", Type::e5m2, 8},     {"u4", Type::u4, 4},          {"s4", Type::s4, 4},          {"u16x2", Type::u16x2, 32},
    {"s16x2", Type::s16x2, 32},  {"b1", Type::b1, 1},          {"b1024", Type::b1024, 1024}, {"f32x2", Type::f32x2, 64},
    {"e2m1", Type::e2m1, 4},     {"e2m3", Type::e2m3, 6},      {"e3m2", Type::e3m2, 6},      {"ue8m0", Type::ue8m0, 8},
    {"e2m1x2", Type::e2m1x2, 8}, {"e2m3x2", Type::e2m3x2, 16}, {"e3m2x2", Type::e3m2x2, 16}, {"ue8m0x2", Type::ue8m0x2, 16},
};

struct Scope {  // names declared inside { }
  Scope* parent = nullptr;
  std::unordered_map<std::string, int> registers, labels;
  std::unordered_map<std::string, std::string> variables;  // -> name that is unique in the function
};

class Parser {
 public:
  explicit Parser(Module& m) : m_(m), lex_(m.text) {}
  void module();

 private:
  Variable variable(Space space, bool external);
  void initializer(Variable& v);
  void initial_value(Variable& v);
  void performance_directive(Function& f, const Token& t);
  void declare(Variable v);
  void labelled_directive(const std::string& name);
  void function(bool entry);
  std::vector<Variable> parameters();
  void body();
  void registers();
  void statement();
  Operand operand();
  Operand address();
  Operand name_operand(const Token& t);
  int find_register(const std::string& name) const;
  int label(Scope& s, const std::string& name);
  void loc();
  void skip_directive(int line);

  Module& m_;
  Lexer lex_;
  Function* f_ = nullptr;
  Scope* scope_ = nullptr;
  std::vector<std::unique_ptr<Scope>> scopes_;
  struct Use {  // a label used before it is known where it is declared
    size_t statement, operand;
    Scope* scope;
  };
  std::vector<Use> uses_;
  struct TableUse {  // a label in .branchtargets
    size_t table;
    std::string label;
    Scope* scope;
  };
  std::vector<TableUse> table_uses_;
  int file_ = 0, source_line_ = 0, inlined_file_ = 0, inlined_line_ = 0;
};

Space space_named(std::string_view s) {
  if (s == "global") return Space::global;
  if (s == "shared") return Space::shared;
  if (s == "local") return Space::local;
  if (s == "param") return Space::param;
  if (s == "const") return Space::constant;
  return Space::generic;
}

void Parser::module() {
  bool external = false;
  while (lex_.peek().kind != Token::End) {
    Token t = lex_.take();
    if (t.kind != Token::Directive) lex_.error("expected a directive");
    if (t.text == "version")
      lex_.take();
    else if (t.text == "target") {
      m_.target = lex_.take().text;
      while (lex_.accept(',')) lex_.take();
    } else if (t.text == "address_size")
      lex_.take();
    else if (t.text == "visible" || t.text == "weak" || t.text == "common")
      continue;
    else if (t.text == "extern") {
      external = true;
      continue;
    } else if (t.text == "entry")
      function(true);
    else if (t.text == "func")
      function(false);
    else if (t.text == "file") {
      int n = int(lex_.take().bits);
      m_.files[n] = lex_.take().text;
      while (lex_.accept(',')) lex_.take();
    } else if (t.text == "section") {  // debug information
      while (!lex_.accept('{')) lex_.take();
      while (!lex_.accept('}')) lex_.take();
    } else if (space_named(t.text) != Space::generic) {
      m_.variables.push_back(variable(space_named(t.text), external));
      lex_.expect(';');
    } else
      skip_directive(t.line);
    external = false;
  }
}

// A directive without meaning for execution: to the end of its line.
void Parser::skip_directive(int line) {
  while (lex_.peek().kind != Token::End && lex_.peek().line == line) lex_.take();
}

Variable Parser::variable(Space space, bool external) {
  Variable v;
  v.space = space;
  v.external = external;
  uint64_t count = 1;
  uint32_t align = 0;
  bool pointer = false;  // .ptr: what follows describes the memory it points to
  for (;;) {
    Token t = lex_.take();
    if (t.kind != Token::Directive) {
      v.name = t.text;
      break;
    }
    if (t.text == "align") {
      const uint32_t n = uint32_t(lex_.take().bits);
      if (!pointer) align = n;
    } else if (t.text == "v2")
      count = 2;
    else if (t.text == "v4")
      count = 4;
    else if (t.text == "v8")
      count = 8;
    else if (t.text == "attribute") {  // .attribute(.managed), .attribute(.unified(...))
      int depth = 0;
      do {
        depth += lex_.peek().is('(') - lex_.peek().is(')');
        lex_.take();
      } while (depth);
    } else if (t.text == "ptr")
      pointer = true;
    else if (space_named(t.text) != Space::generic)
      continue;
    else if (type_named(t.text) != Type::none)
      v.type = type_named(t.text);
    else
      lex_.error("unknown type ." + std::string(t.text));
  }
  const uint32_t element = uint32_t(bits(v.type)) / 8;
  while (lex_.accept('[')) {
    if (lex_.accept(']'))
      count = 0;
    else {
      count *= lex_.take().bits;
      lex_.expect(']');
    }
  }
  v.size = element * count;
  v.align = align ? align : element;
  if (lex_.accept('=')) initializer(v);
  return v;
}

// One element: a number, name, name+offset, generic(name), or mask(name) for one byte of an address (5.4.4).
void Parser::initial_value(Variable& v) {
  const uint32_t element = uint32_t(bits(v.type)) / 8;
  const bool negative = lex_.accept('-');
  Token t = lex_.take();
  uint64_t b = negative ? 0 - t.bits : t.bits;
  Relocation r{v.init.size(), element, 0, "", 0};
  if (t.kind == Token::Integer && lex_.accept('(')) {
    r.shift = uint32_t(__builtin_ctzll(t.bits ? t.bits : 1));
    b = 0;
    r.name = lex_.take().text;
    lex_.expect(')');
  } else if (t.kind == Token::Identifier) {
    r.name = t.text;
    if (t.text == "generic" && lex_.accept('(')) {
      r.name = lex_.take().text;
      lex_.expect(')');
    }
    b = 0;
  } else if (t.kind == Token::Float) {
    if (element == 4) b = __builtin_bit_cast(uint32_t, float(__builtin_bit_cast(double, b)));
    if (negative) b ^= 1ull << (8 * element - 1);
  } else if (t.kind != Token::Integer && t.kind != Token::Hex32 && t.kind != Token::Hex64) {
    lex_.error("initializer of '" + v.name + "' is neither a number nor a name");
  }
  if (!r.name.empty()) {
    while (lex_.peek().is('+') || lex_.peek().is('-')) {
      const bool minus = lex_.take().is('-');
      const int64_t n = int64_t(lex_.take().bits);
      r.addend += minus ? -n : n;
    }
    v.relocations.push_back(std::move(r));
  }
  const uint8_t* p = reinterpret_cast<const uint8_t*>(&b);
  v.init.insert(v.init.end(), p, p + element);
}

void Parser::initializer(Variable& v) {
  int depth = 0;
  do {
    while (lex_.accept('{')) ++depth;
    initial_value(v);
    while (lex_.accept('}')) --depth;
  } while (lex_.accept(','));
  if (depth) lex_.error("bad initializer");
  if (v.size == 0) v.size = v.init.size();
}

std::vector<Variable> Parser::parameters() {
  std::vector<Variable> params;
  if (!lex_.accept('(')) return params;
  while (!lex_.accept(')')) {
    Token t = lex_.take();
    if (t.text == "reg") lex_.error("register parameters are not supported");
    params.push_back(variable(Space::param, false));
    lex_.accept(',');
  }
  return params;
}

// 11.4 Performance-Tuning Directives, 11.7 Cluster Dimension Directives, .noreturn, .pragma, .abi_preserve: one
// directive and its numbers.
void Parser::performance_directive(Function& f, const Token& t) {
  auto number = [&] { return uint32_t(lex_.take().bits); };
  if (t.text == "maxntid" || t.text == "reqntid") {
    f.max_threads = number();
    while (lex_.accept(',')) f.max_threads *= number();
  } else if (t.text == "reqnctapercluster") {
    f.cluster[1] = f.cluster[2] = 1;
    f.cluster[0] = number();
    for (int i = 1; lex_.accept(','); ++i) f.cluster[i] = number();
  } else if (t.text == "pragma") {
    while (!lex_.accept(';')) lex_.take();
  } else {
    while (lex_.peek().kind == Token::Integer || lex_.peek().is(',')) lex_.take();
  }
}

void Parser::function(bool entry) {
  auto f = std::make_unique<Function>();
  f->entry = entry;
  if (!entry) f->returns = parameters();
  f->name = lex_.take().text;
  f->params = parameters();
  for (;;) {
    if (lex_.accept(';')) break;
    if (lex_.peek().is('{')) break;
    performance_directive(*f, lex_.take());
  }
  if (lex_.peek().is('{')) {
    f_ = f.get();
    f->has_body = true;
    scopes_.clear();
    uses_.clear();
    table_uses_.clear();
    scope_ = nullptr;
    file_ = source_line_ = inlined_file_ = inlined_line_ = 0;
    body();
    auto number = [](Scope* s, const std::string& name) {
      for (; s; s = s->parent)
        if (auto it = s->labels.find(name); it != s->labels.end()) return it->second;
      return -1;
    };
    for (const Use& u : uses_) {
      Operand& o = f->body[u.statement].operands[u.operand];
      o.index = number(u.scope, o.name);
    }
    for (const TableUse& u : table_uses_) {
      const int label = number(u.scope, u.label);
      if (label < 0) fail("function %s: .branchtargets names the unknown label %s", f->name.c_str(), u.label.c_str());
      f->tables[u.table].labels.push_back(label);
    }
    f_ = nullptr;
  }
  // A definition replaces an earlier declaration.
  for (auto& g : m_.functions)
    if (g->name == f->name) {
      if (!g->has_body) g = std::move(f);
      return;
    }
  m_.functions.push_back(std::move(f));
}

// A variable of a function; the same name may be declared in several scopes (the parameters of calls are).
void Parser::declare(Variable v) {
  std::string unique = v.name;
  for (const Variable& other : f_->variables)
    if (other.name == unique) {
      unique = v.name + "#" + std::to_string(f_->variables.size());
      break;
    }
  scope_->variables[v.name] = unique;
  v.name = unique;
  f_->variables.push_back(std::move(v));
}

// 11.2 Control Flow Directives: name: .branchtargets, .callprototype, .calltargets.
void Parser::labelled_directive(const std::string& name) {
  if (lex_.take().text == "branchtargets") {
    f_->tables.push_back({name, {}});
    do table_uses_.push_back({f_->tables.size() - 1, std::string(lex_.take().text), scope_});
    while (lex_.accept(','));
    lex_.expect(';');
  } else {  // the callee says how its parameters lie
    while (!lex_.accept(';')) lex_.take();
  }
}

void Parser::body() {
  lex_.expect('{');
  scopes_.push_back(std::make_unique<Scope>());
  scopes_.back()->parent = scope_;
  scope_ = scopes_.back().get();
  while (!lex_.accept('}')) {
    const Token& t = lex_.peek();
    if (t.is('{'))
      body();
    else if (t.kind == Token::Directive) {
      Token d = lex_.take();
      if (d.text == "reg")
        registers();
      else if (d.text == "loc")
        loc();
      else if (d.text == "pragma") {
        lex_.take();
        lex_.expect(';');
      } else if (space_named(d.text) != Space::generic) {
        do declare(variable(space_named(d.text), false));
        while (lex_.accept(','));
        lex_.expect(';');
      } else
        lex_.error("unknown directive ." + std::string(d.text));
    } else if (lex_.accept(';')) {
    } else
      statement();
  }
  scope_ = scope_->parent;
}

void Parser::loc() {
  const int line = lex_.peek().line;
  file_ = int(lex_.take().bits);
  source_line_ = int(lex_.take().bits);
  inlined_file_ = inlined_line_ = 0;
  while (lex_.peek().kind != Token::End && lex_.peek().line == line)
    if (lex_.take().is("inlined_at")) {
      inlined_file_ = int(lex_.take().bits);
      inlined_line_ = int(lex_.take().bits);
    }
}

void Parser::registers() {
  Type type = type_named(lex_.take().text);
  if (type == Type::none) lex_.error("unknown register type");
  do {
    std::string name(lex_.take().text);
    if (lex_.accept('<')) {
      const int n = int(lex_.take().bits);
      lex_.expect('>');
      for (int i = 0; i < n; ++i) {
        std::string one = name + std::to_string(i);
        scope_->registers[one] = int(f_->registers.size());
        f_->registers.push_back({one, type});
      }
    } else {
      scope_->registers[name] = int(f_->registers.size());
      f_->registers.push_back({name, type});
    }
  } while (lex_.accept(','));
  lex_.expect(';');
}

int Parser::find_register(const std::string& name) const {
  for (Scope* s = scope_; s; s = s->parent)
    if (auto it = s->registers.find(name); it != s->registers.end()) return it->second;
  return -1;
}

int Parser::label(Scope& s, const std::string& name) {
  auto [it, fresh] = s.labels.try_emplace(name, int(f_->labels.size()));
  if (!fresh) lex_.error("label declared twice");
  f_->labels.push_back(int(f_->body.size()));
  f_->label_names.push_back(name);
  return it->second;
}

void Parser::statement() {
  Statement s;
  s.line = lex_.peek().line;
  s.file = file_;
  s.source_line = source_line_;
  s.inlined_file = inlined_file_;
  s.inlined_line = inlined_line_;
  const char* begin = lex_.peek().begin;
  if (lex_.accept('@')) {  // 9.3 Predicated Execution
    s.guard_negated = lex_.accept('!');
    std::string p(lex_.take().text);
    s.guard = find_register(p);
    if (s.guard < 0) lex_.error("unknown predicate " + p);
  }
  Token op = lex_.take();
  if (op.kind != Token::Identifier) lex_.error("expected an instruction");
  if (s.guard < 0 && lex_.accept(':')) {
    const Token& t = lex_.peek();
    if (t.is("branchtargets") || t.is("callprototype") || t.is("calltargets")) return labelled_directive(std::string(op.text));
    label(*scope_, std::string(op.text));
    return;
  }
  s.opcode = op.text;
  while (lex_.peek().kind == Token::Directive) s.mods.emplace_back(lex_.take().text);
  if (!lex_.peek().is(';')) {
    do s.operands.push_back(operand());
    while (lex_.accept(','));
  }
  s.text = {begin, size_t(lex_.peek().begin - begin)};
  lex_.expect(';');
  for (size_t i = 0; i < s.operands.size(); ++i)
    if (s.operands[i].kind == Operand::Symbol) uses_.push_back({f_->body.size(), i, scope_});
  f_->body.push_back(std::move(s));
}

// Registers, special registers; everything else is a symbol (variable, function or label).
Operand Parser::name_operand(const Token& t) {
  Operand o;
  std::string name(t.text);
  if (name == "_") {
    o.kind = Operand::Sink;
  } else if (name == "WARP_SZ") {
    o.kind = Operand::Immediate;
    o.bits = 32;
  } else if (o.index = find_register(name); o.index >= 0) {
    o.kind = Operand::Register;
    while (lex_.peek().kind == Token::Directive) o.name += "." + std::string(lex_.take().text);
  } else if (name[0] == '%') {
    o.kind = Operand::Special;
    if (lex_.peek().kind == Token::Directive) name += "." + std::string(lex_.take().text);
    o.name = name;
  } else {
    o.kind = Operand::Symbol;
    o.name = name;
    for (Scope* s = scope_; s; s = s->parent)
      if (auto it = s->variables.find(name); it != s->variables.end()) {
        o.name = it->second;
        break;
      }
  }
  return o;
}

Operand Parser::address() {
  Operand o;
  o.kind = Operand::Address;
  o.parts.push_back(operand());
  if (o.parts[0].kind == Operand::Immediate) o.offset = 0;
  while (lex_.peek().is('+') || lex_.peek().is('-')) {
    const bool minus = lex_.take().is('-');
    const bool minus2 = lex_.accept('-');
    const int64_t n = int64_t(lex_.take().bits);
    o.offset += minus != minus2 ? -n : n;
  }
  if (lex_.accept(',')) o.parts.push_back(operand());
  lex_.expect(']');
  return o;
}

Operand Parser::operand() {
  if (lex_.accept('[')) return address();
  Operand o;
  if (lex_.accept('{')) {
    o.kind = Operand::Vector;
    do o.parts.push_back(operand());
    while (lex_.accept(','));
    lex_.expect('}');
    return o;
  }
  if (lex_.accept('(')) {  // parameters of call
    o.kind = Operand::Vector;
    if (lex_.accept(')')) return o;
    do o.parts.push_back(operand());
    while (lex_.accept(','));
    lex_.expect(')');
    return o;
  }
  const bool minus = lex_.accept('-'), negated = lex_.accept('!');
  Token t = lex_.take();
  switch (t.kind) {
    case Token::Integer:
      o.kind = Operand::Immediate;
      o.bits = minus ? 0 - t.bits : t.bits;
      return o;
    case Token::Hex32:
      o.kind = Operand::Immediate;
      o.is_f32 = true;
      o.bits = minus ? t.bits ^ 0x80000000u : t.bits;
      return o;
    case Token::Hex64:
    case Token::Float:
      o.kind = Operand::Immediate;
      o.is_float = true;
      o.bits = minus ? t.bits ^ 1ull << 63 : t.bits;
      return o;
    case Token::Identifier:
      o = name_operand(t);
      break;
    default:
      lex_.error("unexpected operand");
  }
  o.negated = negated;
  if (minus) lex_.error("negated operand");
  if (o.kind == Operand::Symbol && (lex_.peek().is('+'))) {
    lex_.take();
    o.offset = int64_t(lex_.take().bits);
  }
  if (lex_.accept('|')) {  // d|p of shfl, setp, elect
    Operand pair;
    pair.kind = Operand::Pair;
    pair.parts.push_back(std::move(o));
    pair.parts.push_back(operand());
    return pair;
  }
  return o;
}

}  // namespace

int bits(Type t) {
  for (const TypeName& n : kTypes)
    if (n.type == t) return n.bits;
  return 0;
}

Type type_named(std::string_view name) {
  for (const TypeName& n : kTypes)
    if (name == n.name) return n.type;
  return Type::none;
}

int Module::function_number(std::string_view name) const {
  for (size_t k = 0; k < functions.size(); ++k)
    if (functions[k]->name == name) return int(k);
  return -1;
}
const Function* Module::find(std::string_view name) const {
  const int k = function_number(name);
  return k < 0 ? nullptr : functions[size_t(k)].get();
}

std::string Module::where(const Statement& s) const {
  auto position = [&](int number, int line) {
    auto it = files.find(number);
    if (it == files.end()) return std::string();
    return it->second.substr(it->second.find_last_of('/') + 1) + ":" + std::to_string(line);
  };
  const std::string at = position(s.file, s.source_line), inlined = position(s.inlined_file, s.inlined_line);
  if (at.empty()) return format("PTX line %d", s.line);
  if (inlined.empty()) return format("%s (PTX line %d)", at.c_str(), s.line);
  return format("%s inlined at %s (PTX line %d)", at.c_str(), inlined.c_str(), s.line);
}

std::unique_ptr<Module> parse(std::string text) {
  auto m = std::make_unique<Module>();
  m->text = std::move(text);
  Parser(*m).module();
  return m;
}

}  // namespace sim::ptx
