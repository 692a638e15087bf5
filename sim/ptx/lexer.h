// Tokens of PTX text (4. Syntax).
#pragma once

#include "sim/ptx/ptx.h"

namespace sim::ptx {

struct Token {
  enum Kind : uint8_t { End, Identifier, Directive, Integer, Float, Hex32, Hex64, String, Punct } kind = End;
  std::string_view text;  // without the dot of a directive, without quotes of a string
  uint64_t bits = 0;      // Integer; Hex32 and Hex64 (0f..., 0d...); Float: a double
  const char* begin = nullptr;
  int line = 0;
  bool is(char c) const { return kind == Punct && text[0] == c; }
  bool is(std::string_view s) const { return (kind == Identifier || kind == Directive) && text == s; }
};

class Lexer {
 public:
  explicit Lexer(std::string_view text) : p_(text.data()), end_(text.data() + text.size()) { next(); }
  const Token& peek() const { return current_; }
  Token take() {
    Token t = current_;
    next();
    return t;
  }
  bool accept(char c) {
    if (!current_.is(c)) return false;
    next();
    return true;
  }
  void expect(char c);
  [[noreturn]] void error(const std::string& what) const;

 private:
  void next();
  void skip_blanks();
  const char *p_, *end_;
  int line_ = 1;
  Token current_;
};

}  // namespace sim::ptx
