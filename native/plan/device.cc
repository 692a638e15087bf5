// A device for dry runs: its allocator gives addresses behind which there is no memory, and its stream drops every task. All that is
// decided before a task runs (shapes, conversions, which tensors live how long, how much scratch memory a kernel is given) is decided as
// on the device that it stands for, so memory() says what that one would.
#include "core/device.h"

#include <atomic>
#include <cstdlib>

#include "core/error.h"
#include "cpu/host/dispatch.h"
#include "workspace.h"

namespace heddle {
namespace {

// Capability and multiprocessors of a card in one number, which the kernels' questions for scratch memory come with. By default there are
// as many as on an H100; only some counters of matrix products go by it.
constexpr int kCapability = 1000, kMultiprocessors = 132;

// As far as scratch memory goes by it. A card of sm_90 is taken to have Hopper's kernels.
cuda::Card planned(int code) {
  const int sm = code / kCapability;
  const size_t shared = sm == 75 ? 64 << 10 : sm == 80 ? 163 << 10 : sm == 86 || sm == 89 || sm == 120 ? 99 << 10 : 227 << 10;
  cuda::Card c{};
  c.sm = sm;
  c.multiprocessors = code % kCapability;
  c.shared_per_block = shared;
  c.shared_per_multiprocessor = shared + 1024;
  c.hopper = sm == 90;
  return c;
}

template <class Args>
void give_scratch(Kernel<Args>* kernel) {
  kernel->workspace = [](const Args& a, int code) { return cuda::workspace(a, planned(code)); };
}

// The CPU has every op that a card has; none of its kernels is run here.
const Backend& card_backend() {
  static const Backend table = [] {
    Backend b = cpu::backend();
    give_scratch(&b.reduce);
    give_scratch(&b.column_sum);
    give_scratch(&b.matmul);
    give_scratch(&b.fp8_quantize);
    give_scratch(&b.fp8_matmul);
    give_scratch(&b.nf4_quantize);
    give_scratch(&b.embedding_backward);
    give_scratch(&b.norm_backward);
    give_scratch(&b.attention);
    give_scratch(&b.attention_backward);
    give_scratch(&b.grad_norm);
    return b;
  }();
  return table;
}

// Never the same address twice in a process: 2^44 is far from what memory there is.
void* next_address(size_t bytes) {
  static std::atomic<uintptr_t> next{uintptr_t{1} << 44};
  constexpr uintptr_t kAlign = uintptr_t{2} << 20;  // of cudaMalloc's large blocks
  return reinterpret_cast<void*>(next.fetch_add((bytes + 2 * kAlign - 1) / kAlign * kAlign));
}

// Of "90" or "90x132"; 0: it is neither.
int code_of(const std::string& text) {
  char* end = nullptr;
  const long sm = std::strtol(text.c_str(), &end, 10);
  if (sm < 75 || sm > 129) return 0;
  if (!*end) return static_cast<int>(sm) * kCapability + kMultiprocessors;
  if (*end != 'x') return 0;
  const long count = std::strtol(end + 1, &end, 10);
  return !*end && count > 0 && count < kCapability ? static_cast<int>(sm * kCapability + count) : 0;
}

}  // namespace

std::unique_ptr<Device> make_plan_device(const std::string& what) {
  const int code = what == "cpu" ? -1 : code_of(what);
  if (code == 0)
    throw OpError("device must be 'plan:cpu', 'plan:CAPABILITY' (from 75) or 'plan:CAPABILITYxMULTIPROCESSORS', got 'plan:" + what + "'");
  auto device = std::make_unique<Device>();
  device->name = "plan:" + what;
  device->backend = code < 0 ? &cpu::backend() : &card_backend();
  device->card = code;
  device->computes_half = code > 0;
  device->plans = true;
  device->copy_in = device->copy_out = [](void*, const void*, size_t) {};  // dropped like all else
  device->stream = std::make_unique<Stream>(Stream::Hooks{});
  device->stream->set_hollow(true);
  // It has as much memory as its limit says, cached blocks included, as a card has.
  const auto allocate = [d = device.get()](size_t bytes) -> void* {
    const MemoryStats s = d->memory->stats();
    return s.limit && s.used + s.cached + static_cast<int64_t>(bytes) > s.limit ? nullptr : next_address(bytes);
  };
  device->memory =
      std::make_unique<Allocator>(Allocator::Source{allocate, [](void*, size_t) {}, nullptr, device->name}, device->stream.get());
  if (code > 0)
    device->host_memory =
        std::make_unique<Allocator>(Allocator::Source{next_address, [](void*, size_t) {}, nullptr, "the host"}, device->stream.get());
  return device;
}

}  // namespace heddle
