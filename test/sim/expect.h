// expect.h - the tests' own checks.
#pragma once

#include <cstdio>
#include <cstring>
#include <exception>
#include <string>

#include "sim/control.h"

inline int& failures() {
  static int n = 0;
  return n;
}
inline void expect(const char* name, bool ok, const std::string& detail = "") {
  printf("%s %s %s\n", ok ? "ok  " : "FAIL", name, detail.c_str());
  failures() += !ok;
}
// The simulator must report an error whose text contains `text`.
template <class Run>
void expect_error(const char* name, const char* text, Run run) {
  simReset();
  try {
    run();
  } catch (const std::exception&) {
  }
  const std::string message = simLastMessage();
  expect(name, message.find(text) != std::string::npos, message.empty() ? "(no error reported)" : message.substr(0, message.find('\n')));
  simReset();
}
inline int report() {
  printf(failures() ? "%d FAILED\n" : "all passed\n", failures());
  return failures() != 0;
}
