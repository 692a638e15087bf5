// Handlers by integer type.
#pragma once

#include "sim/machine/lanes.h"

namespace sim {

// Picks the handler for an integer type.
template <template <class> class Make>
inline Handler integer_handler(Decoder& d, Type t) {
  switch (t) {
    case Type::u16:
      return Make<uint16_t>::handler;
    case Type::s16:
      return Make<int16_t>::handler;
    case Type::u32:
      return Make<uint32_t>::handler;
    case Type::s32:
      return Make<int32_t>::handler;
    case Type::u64:
      return Make<uint64_t>::handler;
    case Type::s64:
      return Make<int64_t>::handler;
    default:
      d.unsupported("type");
  }
}
template <template <class> class Make>
inline Handler bits_handler(Decoder& d, Type t) {
  switch (ptx::bits(t)) {
    case 16:
      return Make<uint16_t>::handler;
    case 32:
      return Make<uint32_t>::handler;
    case 64:
      return Make<uint64_t>::handler;
    default:
      d.unsupported("type");
  }
}

template <class T>
using Unsigned = std::make_unsigned_t<T>;

template <class Op>
struct Un {
  template <class T>
  struct Make {
    static constexpr Handler handler = unary<Op, T>;
  };
};
template <class Op>
struct Bin {
  template <class T>
  struct Make {
    static constexpr Handler handler = binary<Op, T>;
  };
};
template <class Op>
struct Ter {
  template <class T>
  struct Make {
    static constexpr Handler handler = ternary<Op, T>;
  };
};

}  // namespace sim
