#pragma once
// The only exception type of the engine. The message is a whole sentence for the caller of an op:
// "<op>: <argument> must be <expected>, got <what came>".
#include <stdexcept>
#include <string>

namespace heddle {

enum class ErrorCode { invalid_argument, out_of_memory, disposed, no_kernel, device, internal, capturing };

// The code that JavaScript sees as error.code.
constexpr const char* name_of(ErrorCode c) {
  constexpr const char* names[] = {"ERR_HEDDLE_ARGUMENT", "ERR_HEDDLE_OUT_OF_MEMORY", "ERR_HEDDLE_DISPOSED", "ERR_HEDDLE_NO_KERNEL",
                                   "ERR_HEDDLE_DEVICE",   "ERR_HEDDLE_INTERNAL",      "ERR_HEDDLE_CAPTURING"};
  return names[static_cast<int>(c)];
}

struct OpError : std::runtime_error {
  explicit OpError(const std::string& what, ErrorCode c = ErrorCode::invalid_argument) : std::runtime_error(what), code(c) {}
  ErrorCode code;
};

// For files that are compiled once per instruction set: a throw expression there would leave weak copies of OpError in its objects.
[[noreturn]] void throw_op_error(const char* message);

}  // namespace heddle
