// Tokens of PTX text (4. Syntax).
#include "sim/ptx/lexer.h"

#include <cstdlib>

namespace sim::ptx {
namespace {

bool is_word(char c) { return isalnum(static_cast<unsigned char>(c)) || c == '_' || c == '$' || c == '%'; }

}  // namespace

void Lexer::error(const std::string& what) const {
  const char* e = current_.begin;
  while (e < end_ && *e != '\n') ++e;
  fail("PTX line %d: %s at '%.*s'", current_.line, what.c_str(), int(std::min<long>(e - current_.begin, 120)), current_.begin);
}

void Lexer::expect(char c) {
  if (!accept(c)) error(std::string("expected '") + c + "'");
}

void Lexer::skip_blanks() {
  while (p_ < end_) {
    if (*p_ == '\n')
      ++line_, ++p_;
    else if (isspace(static_cast<unsigned char>(*p_)))
      ++p_;
    else if (p_ + 1 < end_ && p_[0] == '/' && p_[1] == '/') {
      while (p_ < end_ && *p_ != '\n') ++p_;
    } else if (p_ + 1 < end_ && p_[0] == '/' && p_[1] == '*') {
      for (p_ += 2; p_ + 1 < end_ && !(p_[0] == '*' && p_[1] == '/'); ++p_) line_ += *p_ == '\n';
      p_ += 2;
    } else
      break;
  }
}

void Lexer::next() {
  skip_blanks();
  Token t;
  t.begin = p_;
  t.line = line_;
  if (p_ >= end_) {
    current_ = t;
    return;
  }
  const char* b = p_;
  if (isdigit(static_cast<unsigned char>(*p_))) {
    if (b[0] == '0' && (b[1] == 'f' || b[1] == 'F' || b[1] == 'd' || b[1] == 'D')) {
      t.kind = b[1] == 'f' || b[1] == 'F' ? Token::Hex32 : Token::Hex64;
      char* e;
      t.bits = strtoull(std::string(b + 2, t.kind == Token::Hex32 ? 8 : 16).c_str(), &e, 16);
      p_ += t.kind == Token::Hex32 ? 10 : 18;
    } else {
      const char* q = p_;
      while (q < end_ && isalnum(static_cast<unsigned char>(*q))) ++q;
      char* e;
      if (q < end_ && *q == '.' && isdigit(static_cast<unsigned char>(q[1]))) {
        double d = strtod(p_, &e);
        memcpy(&t.bits, &d, 8);
        t.kind = Token::Float;
        p_ = e;
      } else {
        t.kind = Token::Integer;
        if (b[0] == '0' && (b[1] == 'b' || b[1] == 'B'))
          t.bits = strtoull(b + 2, &e, 2);
        else
          t.bits = strtoull(b, &e, 0);
        p_ = e;
        if (p_ < end_ && *p_ == 'U') ++p_;
      }
    }
  } else if (*p_ == '.' && p_ + 1 < end_ && is_word(p_[1])) {
    t.kind = Token::Directive;
    for (b = ++p_; p_ < end_ && (is_word(*p_) || (p_[0] == ':' && p_[1] == ':' && is_word(p_[2]))); ++p_)
      if (*p_ == ':') ++p_;
  } else if (is_word(*p_)) {
    t.kind = Token::Identifier;
    while (p_ < end_ && is_word(*p_)) ++p_;
  } else if (*p_ == '"') {
    t.kind = Token::String;
    for (b = ++p_; p_ < end_ && *p_ != '"'; ++p_) {
    }
    t.text = {b, size_t(p_ - b)};
    ++p_;
    current_ = t;
    return;
  } else {
    t.kind = Token::Punct;
    ++p_;
  }
  t.text = {b, size_t(p_ - b)};
  current_ = t;
}

}  // namespace sim::ptx
