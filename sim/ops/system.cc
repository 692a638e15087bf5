// Functions without a body that nvcc calls: vprintf (printf), __assertfail (assert), malloc and free of device code;
// and the workspace that %envreg1 and %envreg2 name.
#include "sim/ops/system.h"

#include <cstdio>

#include "sim/machine/machine.h"
#include "sim/ptx/decode.h"

namespace sim {

namespace {

// Where a .param variable of the call lies in the lane's local memory.
uint8_t* argument_bytes(Warp& w, const Instr& i, int lane, int k) {
  const uint64_t frame = i.target == kNone ? 0 : w.reg<uint64_t>(i.target)[lane];
  return w.local.data() + size_t(lane) * w.program->local_bytes + frame + i.r[k];
}
template <class T>
T argument(Warp& w, const Instr& i, int lane, int k) {
  T v;
  memcpy(&v, argument_bytes(w, i, lane, k), sizeof v);
  return v;
}

// Host pointer for `bytes` at a generic address in global or local memory.
const uint8_t* generic_pointer(Warp& w, int lane, uint64_t address, uint64_t bytes = 1) {
  if ((address & 0xf000'0000'0000'0000) == kLocalWindow) {
    if (address - kLocalWindow + bytes > w.program->local_bytes) w.fault(lane, "address 0x%lx is outside local memory", address);
    return w.local.data() + size_t(lane) * w.program->local_bytes + (address - kLocalWindow);
  }
  if ((address & 0xf000'0000'0000'0000) == kSharedWindow) return shared_place(w, lane, address - kSharedWindow, uint32_t(bytes), 1).data();
  check_extent(w, lane, address, bytes, Read);
  return reinterpret_cast<const uint8_t*>(address);
}

std::string generic_string(Warp& w, int lane, uint64_t address) {
  std::string s;
  for (;; ++address) {
    const char c = char(*generic_pointer(w, lane, address));
    if (!c) return s;
    s += c;
  }
}

template <class T>
std::string one_value(const std::string& spec, const std::vector<int>& stars, T v) {
  char text[1100];  // the widest double
  if (stars.size() == 2)
    snprintf(text, sizeof text, spec.c_str(), stars[0], stars[1], v);
  else if (stars.size() == 1)
    snprintf(text, sizeof text, spec.c_str(), stars[0], v);
  else
    snprintf(text, sizeof text, spec.c_str(), v);
  return text;
}

// printf of one thread.  Arguments lie in a buffer, each aligned to its size: 4 bytes for int, else 8.
int print_lane(Warp& w, int lane, uint64_t format_address, uint64_t args) {
  const std::string text = generic_string(w, lane, format_address);
  uint64_t at = 0;
  int count = 0;
  auto take = [&](size_t bytes) {
    at = round_up(at, bytes);
    uint64_t v = 0;
    memcpy(&v, generic_pointer(w, lane, args + at, bytes), bytes);
    at += bytes;
    ++count;
    return v;
  };
  std::string out;
  for (size_t k = 0; k < text.size();) {
    if (text[k] != '%') {
      out += text[k++];
      continue;
    }
    const size_t end = text.find_first_of("diouxXcsfFeEgGaAp%", k + 1);
    if (end == std::string::npos) {
      out += text.substr(k);
      break;
    }
    const std::string spec = text.substr(k, end - k + 1);
    const char kind = text[end];
    k = end + 1;
    std::vector<int> stars;
    const bool is_long = spec.find('l') != std::string::npos || spec.find('z') != std::string::npos ||
                         spec.find('j') != std::string::npos || spec.find('t') != std::string::npos;
    if (kind == '%') {
      out += '%';
      continue;
    }
    for (char c : spec)
      if (c == '*') stars.push_back(int(take(4)));
    if (kind == 's')
      out += one_value(spec, stars, generic_string(w, lane, take(8)).c_str());
    else if (strchr("fFeEgGaA", kind))
      out += one_value(spec, stars, __builtin_bit_cast(double, take(8)));
    else if (kind == 'p')
      out += one_value(spec, stars, reinterpret_cast<void*>(take(8)));
    else if (is_long)
      out += one_value(spec, stars, take(8));
    else
      out += one_value(spec, stars, uint32_t(take(4)));
  }
  fwrite(out.data(), 1, out.size(), stdout);
  return count;
}

void vprintf_run(Warp& w, const Instr& i) {  // r: format, arguments, result
  for_lanes(w.mask, [&](int l) {
    const int n = print_lane(w, l, argument<uint64_t>(w, i, l, 0), argument<uint64_t>(w, i, l, 1));
    if (i.r[2] != kNone) memcpy(argument_bytes(w, i, l, 2), &n, 4);
  });
  fflush(stdout);
}

void assert_run(Warp& w, const Instr& i) {  // r: message, file, line, function
  const int l = __builtin_ctz(w.mask);
  auto text = [&](int k) { return generic_string(w, l, argument<uint64_t>(w, i, l, k)); };
  const Dim3 &b = w.block->index, &n = w.machine->launch.block;
  const uint32_t t = w.index * 32 + uint32_t(l);
  w.fault(l, "%s:%u: %s: block: [%u,%u,%u], thread: [%u,%u,%u] Assertion `%s' failed.", text(1).c_str(), argument<uint32_t>(w, i, l, 2),
          text(3).c_str(), b.x, b.y, b.z, t % n.x, t / n.x % n.y, t / (n.x * n.y), text(0).c_str());
}

void malloc_run(Warp& w, const Instr& i) {  // r: size, result
  for_lanes(w.mask, [&](int l) {
    const uint64_t bytes = argument<uint64_t>(w, i, l, 0);
    const uint64_t at = bytes ? global_memory().allocate(bytes, Allocation::Device) : 0;
    memcpy(argument_bytes(w, i, l, 1), &at, 8);
  });
}
void free_run(Warp& w, const Instr& i) {  // r: address
  for_lanes(w.mask, [&](int l) {
    const uint64_t at = argument<uint64_t>(w, i, l, 0);
    if (at && !global_memory().release(at)) w.fault(l, "free of 0x%lx, which malloc did not return", at);
  });
}

}  // namespace

Handler system_call(std::string_view name) {
  if (name == "vprintf") return vprintf_run;
  if (name == "__assertfail") return assert_run;
  if (name == "malloc") return malloc_run;
  if (name == "free") return free_run;
  return nullptr;
}

uint64_t grid_workspace() {
  static const uint64_t at = global_memory().allocate(256, Allocation::Device);
  return at;
}
void reset_grid_workspace() {
  const uint32_t header[2] = {256, 0};  // struct { unsigned size; unsigned barrier; }
  memset(reinterpret_cast<void*>(grid_workspace()), 0, 256);
  memcpy(reinterpret_cast<void*>(grid_workspace()), header, sizeof header);
  global_memory().host_write(reinterpret_cast<void*>(grid_workspace()), 256);
}

}  // namespace sim
