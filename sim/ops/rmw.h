// Read-modify-write operations of atom, red and cp.reduce.
#pragma once

#include "sim/machine/lanes.h"

namespace sim {

enum class Rmw : uint8_t { add, exch, cas, min, max, inc, dec, and_, or_, xor_ };

template <class T>
Value<T> apply(Rmw op, Value<T> old, Value<T> b, Value<T> c) {
  using V = Value<T>;
  switch (op) {
    case Rmw::add:
      if constexpr (std::is_integral_v<V>)
        return V(std::make_unsigned_t<V>(old) + std::make_unsigned_t<V>(b));
      else
        return old + b;
    case Rmw::exch:
      return b;
    case Rmw::cas:
      return old == b ? c : old;
    case Rmw::min:
      return b < old ? b : old;
    case Rmw::max:
      return b > old ? b : old;
    default:
      break;
  }
  if constexpr (std::is_integral_v<V>) switch (op) {
      case Rmw::inc:
        return old >= b ? V(0) : V(old + 1);
      case Rmw::dec:
        return old == 0 || old > b ? b : V(old - 1);
      case Rmw::and_:
        return old & b;
      case Rmw::or_:
        return old | b;
      case Rmw::xor_:
        return old ^ b;
      default:
        break;
    }
  fail("atomic operation on this type");
}

// Takes the operation's modifier.
inline Rmw take_rmw(Decoder& d) {
  constexpr std::string_view names[] = {"add", "exch", "cas", "min", "max", "inc", "dec", "and", "or", "xor"};
  for (int k = 0; k < 10; ++k)
    if (d.take(names[k])) return Rmw(k);
  d.unsupported("operation");
}

}  // namespace sim
