#pragma once
// A handle is a number: slot and generation of this table, packed into what a JavaScript number holds exactly. Looking one up
// takes nanoseconds, and a disposed, stale or foreign number is an error that says so.
#include <cstdint>
#include <string>
#include <vector>

#include "core/error.h"
#include "core/tensor.h"

namespace heddle {

// What a tensor is for, in the order in which it counts where a buffer is several of them. `graphs`: no tensor's, kept by captured graphs.
enum class Holder : uint8_t { parameters, optimizer, gradients, cache, saved, flowing, other, graphs };
constexpr size_t kHolders = 8;

class HandleTable {
 public:
  // Generations of different instances start apart, so that one's handle is hardly ever valid in another.
  explicit HandleTable(uint32_t first_generation) : first_(first_generation & (kGenerations - 1)) {}

  double add(Tensor t) {
    uint32_t slot;
    if (free_.empty()) {
      if (slots_.size() >= kSlots) throw OpError("too many tensors are alive (" + std::to_string(kSlots) + ")", ErrorCode::internal);
      slot = static_cast<uint32_t>(slots_.size());
      slots_.push_back({{}, 0, first_, false, Holder::other});
    } else {
      slot = free_.back();
      free_.pop_back();
    }
    slots_[slot].tensor = std::move(t);
    slots_[slot].used = true;
    slots_[slot].holder = Holder::other;
    slots_[slot].birth = births_++;
    return static_cast<double>(slots_[slot].generation) * kSlots + slot;
  }

  // Null when the handle is none of this table's living tensors.
  const Tensor* find(double handle) const {
    const Slot* s = slot_of(handle);
    return s ? &s->tensor : nullptr;
  }

  // Says what the handle's tensor is for.
  void hold(double handle, Holder as) {
    if (Slot* s = const_cast<Slot*>(slot_of(handle))) s->holder = as;
  }

  template <class F>
  void each(F&& f) const {
    for (const Slot& s : slots_)
      if (s.used) f(s.tensor, s.holder);
  }

  bool remove(double handle) {
    Slot* s = const_cast<Slot*>(slot_of(handle));
    if (!s) return false;
    s->tensor = {};
    s->used = false;
    s->generation = (s->generation + 1) & (kGenerations - 1);
    free_.push_back(static_cast<uint32_t>(s - slots_.data()));
    return true;
  }

  // What an operation that failed halfway had made: remembers where it began, and removes all handles made since.
  uint64_t mark() const { return births_; }
  void rollback(uint64_t mark) {
    for (size_t slot = 0; slot < slots_.size(); ++slot)
      if (slots_[slot].used && slots_[slot].birth >= mark)
        remove(static_cast<double>(slots_[slot].generation) * kSlots + static_cast<double>(slot));
  }

  size_t alive() const { return slots_.size() - free_.size(); }
  void clear() {
    slots_.clear();
    free_.clear();
  }

 private:
  static constexpr uint32_t kSlots = 1u << 24, kGenerations = 1u << 28;
  struct Slot {
    Tensor tensor;
    uint64_t birth;
    uint32_t generation;
    bool used;
    Holder holder;
  };

  const Slot* slot_of(double handle) const {
    if (!(handle >= 0 && handle < 4503599627370496.0)) return nullptr;  // 2^52
    const auto bits = static_cast<uint64_t>(handle);
    const uint64_t slot = bits % kSlots;
    if (static_cast<double>(bits) != handle || slot >= slots_.size()) return nullptr;
    const Slot& s = slots_[slot];
    return s.used && s.generation == bits / kSlots ? &s : nullptr;
  }

  uint32_t first_;
  uint64_t births_ = 0;
  std::vector<Slot> slots_;
  std::vector<uint32_t> free_;
};

}  // namespace heddle
