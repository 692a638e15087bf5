#include "cpu/host/bf16.h"

#ifdef __x86_64__
#include <cpuid.h>
#endif
#ifdef HEDDLE_AMX
#include <sys/syscall.h>
#include <unistd.h>
#endif

#include <atomic>
#include <cstdlib>
#include <cstring>

#include "core/error.h"
#include "cpu/host/dispatch.h"

namespace heddle::cpu {

#ifdef HEDDLE_AMX
namespace amx {
void matmul_bf16(const MatmulArgs&);
}
#endif
#ifdef __x86_64__
namespace avx512bf16 {
void matmul_bf16(const MatmulArgs&);
}
#endif

namespace {

bool at_avx512_bf16(const std::string& level, const BF16Features& f) { return level == "avx512" && (f.leaf7_1_eax >> 5 & 1); }

// Intel's manual, volume 1, on detecting AMX: the processor has tiles and multiplies bf16 in them, the system saves their configuration and
// data. They are packed with AVX-512 BF16.
[[maybe_unused]] bool at_amx(const std::string& level, const BF16Features& f) {
  constexpr unsigned instructions = 1u << 24 | 1u << 22;
  constexpr uint64_t registers = uint64_t{3} << 17;
  return at_avx512_bf16(level, f) && (f.leaf7_edx & instructions) == instructions && (f.xcr0 & registers) == registers && f.grants_tiles();
}

struct Choice {
  BF16Kernel kernel;
  bool (*runs)(const std::string& level, const BF16Features&);
};
constexpr Choice kChoices[] = {// best first
#ifdef HEDDLE_AMX
                               {{"amx", amx::matmul_bf16}, at_amx},
#endif
#ifdef __x86_64__
                               {{"avx512_bf16", avx512bf16::matmul_bf16}, at_avx512_bf16},
#endif
                               {{"f32", nullptr}, [](const std::string&, const BF16Features&) { return true; }}};

// Linux gives a process the 8 KB of tiles a thread on request, from 5.16 on; before, and where a thread's signal stack has no room for
// them, it refuses.
[[maybe_unused]] bool linux_grants_tiles() {
#ifdef HEDDLE_AMX
  constexpr long request_permission = 0x1023, tile_data = 18;  // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
  return syscall(SYS_arch_prctl, request_permission, tile_data) == 0;
#else
  return false;
#endif
}

BF16Features machine() {
  BF16Features f{0, 0, 0, linux_grants_tiles};
#ifdef __x86_64__
  unsigned a, b, c, d;
  if (__get_cpuid_count(7, 0, &a, &b, &c, &d)) f.leaf7_edx = d;
  if (__get_cpuid_count(7, 1, &a, &b, &c, &d)) f.leaf7_1_eax = a;
  if (__get_cpuid(1, &a, &b, &c, &d) && (c & bit_OSXSAVE)) {
    asm volatile("xgetbv" : "=a"(a), "=d"(d) : "c"(0));
    f.xcr0 = uint64_t{d} << 32 | a;
  }
#endif
  return f;
}

const BF16Kernel* named(const char* name) {
  for (const Choice& choice : kChoices)
    if (std::strcmp(choice.kernel.name, name) == 0) return &choice.kernel;
  return nullptr;
}

const BF16Kernel& pick() {
  const std::vector<std::string> here = bf16_kernels_of(level(), machine());
  const char* wanted = std::getenv("HEDDLE_BF16");
  if (!wanted || !*wanted) wanted = here.front().c_str();
  std::string all;
  for (const std::string& name : here) {
    if (name == wanted) return *named(wanted);
    all += (all.empty() ? "" : ", ") + name;
  }
  throw OpError("HEDDLE_BF16 must be one of " + all + " on this machine at " + level() + ", got " + wanted);
}

std::atomic<const BF16Kernel*> in_test{nullptr};

}  // namespace

const BF16Kernel& bf16_kernel() {
  if (const BF16Kernel* kernel = in_test.load(std::memory_order_relaxed)) return *kernel;
  static const BF16Kernel& kernel = pick();
  return kernel;
}

std::vector<std::string> bf16_kernels_of(const std::string& level, const BF16Features& features) {
  std::vector<std::string> names;
  for (const Choice& choice : kChoices)
    if (choice.runs(level, features)) names.push_back(choice.kernel.name);
  return names;
}

bool use_bf16_kernel(const char* name) {
  const BF16Kernel* kernel = name ? named(name) : nullptr;
  in_test.store(kernel);
  return !name || kernel;
}

}  // namespace heddle::cpu
