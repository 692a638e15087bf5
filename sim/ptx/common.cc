// Formatted errors.
#include "sim/ptx/common.h"

#include <cxxabi.h>

#include <cstdarg>
#include <cstdio>
#include <cstdlib>

namespace sim {

static std::string vformat(const char* f, va_list args) {
  char text[4096];
  vsnprintf(text, sizeof text, f, args);
  return text;
}
std::string format(const char* f, ...) {
  va_list args;
  va_start(args, f);
  std::string s = vformat(f, args);
  va_end(args);
  return s;
}
void fail(const char* f, ...) {
  va_list args;
  va_start(args, f);
  std::string s = vformat(f, args);
  va_end(args);
  throw Error(s);
}

std::string readable(const std::string& mangled) {
  int status = 0;
  char* text = abi::__cxa_demangle(mangled.c_str(), nullptr, nullptr, &status);
  if (status) return mangled;
  std::string s = text;
  free(text);
  // Drop the parameter lists and the unnamed namespaces: "f(int)::tile" is "f::tile".
  std::string out;
  int depth = 0;
  for (size_t i = 0; i < s.size(); ++i) {
    if (s.compare(i, 21, "(anonymous namespace)") == 0) {
      i += 22;  // and "::"
      continue;
    }
    if (s[i] == '(') ++depth;
    if (!depth) out += s[i];
    if (s[i] == ')') --depth;
  }
  return out;
}

}  // namespace sim
