// Device system calls that nvcc emits as calls of functions without a body:
// vprintf (printf) and __assertfail (assert).
#include <cstdio>

#include "sim/ptx/decode.h"

namespace sim {

namespace {

// A .param variable of the call in the lane's local memory.
template <class T>
T argument(Warp& w, int lane, uint32_t offset) {
  T v;
  memcpy(&v, w.local.data() + size_t(lane) * w.program->local_bytes + offset, sizeof v);
  return v;
}

// Host pointer for a generic address in global or local memory.
const uint8_t* generic_pointer(Warp& w, int lane, uint64_t address) {
  if ((address & 0xf000'0000'0000'0000) == kLocalWindow) {
    if (address - kLocalWindow >= w.program->local_bytes) w.fault(lane, "address 0x%lx is outside local memory", address);
    return w.local.data() + size_t(lane) * w.program->local_bytes + (address - kLocalWindow);
  }
  check_extent(w, lane, address, 1, Read);
  return reinterpret_cast<const uint8_t*>(address);
}

void print_lane(Warp& w, int lane, const char* f, const uint8_t* args) {
  size_t at = 0;
  auto take = [&](size_t bytes) {
    at = round_up(at, bytes);
    uint64_t v = 0;
    memcpy(&v, args + at, bytes);
    at += bytes;
    return v;
  };
  std::string out;
  while (*f) {
    if (*f != '%') {
      out += *f++;
      continue;
    }
    std::string spec(1, *f++);
    bool is_long = false;
    while (*f && !strchr("diouxXcsfFeEgGaAp%", *f)) {
      is_long = is_long || *f == 'l';
      spec += *f++;
    }
    if (!*f) break;
    const char kind = *f++;
    spec += kind;
    char text[512];
    if (kind == '%')
      strcpy(text, "%");
    else if (kind == 's')
      snprintf(text, sizeof text, spec.c_str(), reinterpret_cast<const char*>(generic_pointer(w, lane, take(8))));
    else if (strchr("fFeEgGaA", kind))
      snprintf(text, sizeof text, spec.c_str(), __builtin_bit_cast(double, take(8)));
    else if (kind == 'p' || is_long)
      snprintf(text, sizeof text, spec.c_str(), take(8));
    else
      snprintf(text, sizeof text, spec.c_str(), uint32_t(take(4)));
    out += text;
  }
  fputs(out.c_str(), stdout);
}

void vprintf_run(Warp& w, const Instr& i) {  // r: format, arguments, result
  for_lanes(w.mask, [&](int l) {
    const auto* f = reinterpret_cast<const char*>(generic_pointer(w, l, argument<uint64_t>(w, l, i.r[0])));
    const uint64_t args = argument<uint64_t>(w, l, i.r[1]);
    print_lane(w, l, f, args ? generic_pointer(w, l, args) : nullptr);
    if (i.r[2] != kNone) memset(w.local.data() + size_t(l) * w.program->local_bytes + i.r[2], 0, 4);
  });
}

void assert_run(Warp& w, const Instr& i) {  // r: message, file, line, function
  const int l = __builtin_ctz(w.mask);
  auto text = [&](int k) { return reinterpret_cast<const char*>(generic_pointer(w, l, argument<uint64_t>(w, l, i.r[k]))); };
  w.fault(l, "%s:%u: %s: assertion `%s' failed", text(1), argument<uint32_t>(w, l, i.r[2]), text(3), text(0));
}

}  // namespace

Handler system_call(std::string_view name) { return name == "vprintf" ? vprintf_run : name == "__assertfail" ? assert_run : nullptr; }

}  // namespace sim
