// detect.h - kernels with planted bugs and their clean twins.
//
// A planted bug is marked in the source by a comment, "planted:" and a name. The simulator's message must name the kernel, the block, the
// thread (or threads) and that line. The clean twin must run without a message.
#pragma once

#include <fstream>

#include "device_buffer.h"
#include "expect.h"

// The number of the line of `file` that carries the mark.
inline int planted_line(const char* file, const std::string& name) {
  std::ifstream in(file);
  std::string text;
  for (int line = 1; std::getline(in, text); ++line)
    if (text.find("// planted: " + name) != std::string::npos) return line;
  return 0;
}

// Runs a kernel whose bug is planted in `file` as `name`; the message must contain `what` and say where.
template <class Run>
void expect_detected(const char* file, const char* name, const char* kernel, const char* what, Run run) {
  simReset();
  run();
  cudaDeviceSynchronize();
  const std::string message = simLastMessage(), line = ":" + std::to_string(planted_line(file, name)) + " ";
  std::string missing;
  for (const std::string& part : {std::string(what), std::string(kernel), std::string("block ("), std::string("thread"), line})
    if (message.find(part) == std::string::npos) missing += " '" + part + "'";
  if (missing.empty())
    expect(name, true, message.substr(0, message.find('\n')));
  else
    expect(name, false, message.empty() ? "(no message)" : "the message lacks" + missing + ":\n" + message);
  simReset();
}
template <class Run>
void expect_clean(const char* name, Run run) {
  simReset();
  run();
  const cudaError_t e = cudaDeviceSynchronize();
  expect((std::string(name) + ", clean twin").c_str(), e == cudaSuccess && !*simLastMessage(), simLastMessage());
  simReset();
}

// Runs kernel<true> and kernel<false>; the arguments are those of the launch and the kernel.
#define EXPECT_PLANTED(name, kernel, what, ...)                                          \
  do {                                                                                   \
    expect_detected(__FILE__, name, #kernel, what, [&] { (kernel<true> __VA_ARGS__); }); \
    expect_clean(name, [&] { (kernel<false> __VA_ARGS__); });                            \
  } while (0)
