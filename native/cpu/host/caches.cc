#include "cpu/host/caches.h"

#include <unistd.h>

#include <cstdlib>
#include <string>

#include "core/error.h"

namespace heddle::cpu {
namespace {

constexpr int64_t kUnknown = int64_t{32} << 20;

int64_t find_cache_bytes() {
  if (const char* text = std::getenv("HEDDLE_CACHE_BYTES"); text && *text) {
    char* end;
    const long long n = std::strtoll(text, &end, 10);
    if (*end || n < 1 || n > (int64_t{1} << 40))
      throw OpError("HEDDLE_CACHE_BYTES must be an integer from 1 to 2^40, got " + std::string(text));
    return n;
  }
#ifdef _SC_LEVEL3_CACHE_SIZE
  for (const int level : {_SC_LEVEL3_CACHE_SIZE, _SC_LEVEL2_CACHE_SIZE})
    if (const long n = sysconf(level); n > 0) return n;
#endif
  return kUnknown;
}

}  // namespace

int64_t cache_bytes() {
  static const int64_t bytes = find_cache_bytes();
  return bytes;
}

bool past_caches(int64_t bytes) {
#ifdef __x86_64__
  return bytes >= cache_bytes();
#else
  return bytes < 0;  // there are no such stores: never
#endif
}

}  // namespace heddle::cpu
