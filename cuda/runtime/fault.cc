#include "runtime/fault.h"

namespace heddle::cuda {

std::string fault_text(const Fault& f) {
  const std::string value = std::to_string(f.value), at = "[" + std::to_string(f.index) + "]";
  const std::string range = " must be within [0, " + std::to_string(f.bound) + ")";
  switch (f.kind) {
    case FaultKind::none:
      break;
    case FaultKind::embedding_id:
      return "embedding: ids" + at + range + ", got " + value;
    case FaultKind::gather_index:
      return "gather: index" + range + ", got " + value;
    case FaultKind::target:
      return "crossEntropy: targets" + at + range + " or " + std::to_string(f.other) + " (ignored), got " + value;
    case FaultKind::zero_divisor:
      return "div: b must be nonzero for i32, got 0";
    case FaultKind::negative_exponent:
      return "pow: b must be at least 0 for i32, got " + value;
    case FaultKind::page:
      return "attention: pages" + at + range + ", got " + value;
    case FaultKind::place:
      return "writePages: places" + at + range + ", got " + value;
  }
  return "";
}

}  // namespace heddle::cuda
