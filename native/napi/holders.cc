#include "napi/holders.h"

#include <algorithm>
#include <unordered_map>

namespace heddle {
namespace {

const char* name_of(Holder kind) { return EnumNames<Holder>::names[static_cast<int>(kind)]; }

}  // namespace

MemoryHolders holders_of(const HandleTable& handles, const Device& device) {
  struct Buffer {
    Holder kind;
    int64_t bytes;
    const Tensor* tensor;
  };
  std::unordered_map<const Storage*, Buffer> buffers;
  handles.each([&](const Tensor& t, Holder kind) {
    const Storage* storage = t.storage.get();
    if (storage->device != &device || storage->memory != device.memory.get()) return;
    const auto [it, fresh] = buffers.try_emplace(storage, Buffer{kind, 0, &t});
    Buffer& b = it->second;
    if (fresh) b.bytes = device.memory->bytes_of(storage->block());
    b.kind = std::min(b.kind, kind);  // what is shared counts once, as the first of what it is
    if (t.elements() > b.tensor->elements()) b.tensor = &t;
  });

  MemoryHolders found;
  const MemoryStats stats = device.memory->stats();
  found.bytes[static_cast<size_t>(Holder::graphs)] = stats.pooled;
  found.underway = stats.used - stats.pooled;
  std::vector<Buffer> largest;
  for (const auto& [storage, b] : buffers) {
    found.bytes[static_cast<size_t>(b.kind)] += b.bytes;
    found.underway -= b.bytes;
    largest.push_back(b);
  }
  const size_t most = std::min(kLargestHolders, largest.size());
  const auto before = [](const Buffer& a, const Buffer& b) {
    return a.bytes != b.bytes ? a.bytes > b.bytes : a.tensor->storage->data < b.tensor->storage->data;
  };
  std::partial_sort(largest.begin(), largest.begin() + static_cast<int64_t>(most), largest.end(), before);
  largest.resize(most);
  for (const Buffer& b : largest) found.largest.push_back({b.kind, b.bytes, b.tensor->dtype, b.tensor->shape, b.tensor->storage->op});
  return found;
}

std::string text(const MemoryHolders& holders) {
  std::string kinds, largest;
  const auto add = [](std::string* list, const std::string& item) { *list += (list->empty() ? "" : ", ") + item; };
  int64_t state = 0, all = holders.underway;
  for (size_t i = 0; i < kHolders; ++i) {
    const auto kind = static_cast<Holder>(i);
    all += holders.bytes[i];
    if (kind == Holder::parameters || kind == Holder::gradients || kind == Holder::optimizer) state += holders.bytes[i];
    if (holders.bytes[i]) add(&kinds, std::string(name_of(kind)) + " " + size_text(holders.bytes[i]));
  }
  if (holders.underway) add(&kinds, "this op " + size_text(holders.underway));
  for (const auto& b : holders.largest)
    add(&largest,
        size_text(b.bytes) + " " + name_of(b.dtype) + " " + heddle::text(b.shape) + " made by " + b.op + " (" + name_of(b.kind) + ")");
  std::string s = "\n  Held by: " + (kinds.empty() ? "nothing" : kinds);
  if (!largest.empty()) s += "\n  Largest: " + largest;
  if (state > all / 2)
    s += "\n  Most of it is the model and its optimizer: a smaller model, or an optimizer that keeps less (lion, sgd), gives more than a "
         "smaller batch.";
  return s;
}

}  // namespace heddle
