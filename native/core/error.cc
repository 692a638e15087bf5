#include "core/error.h"

namespace heddle {

void throw_op_error(const char* message) { throw OpError(message); }

}  // namespace heddle
