// The handle table: numbers that are stale, forged or of another instance are told from those of living tensors.
#include "napi/handle.h"

#include <set>

#include "check.h"

using heddle::HandleTable;
using heddle::Tensor;

namespace {

Tensor some(int64_t n) {
  Tensor t;
  t.shape = {n};
  return t;
}

void life() {
  HandleTable table(1);
  const double a = table.add(some(1)), b = table.add(some(2));
  CHECK(a != b);
  CHECK(table.alive() == 2);
  CHECK(table.find(a)->shape[0] == 1);
  CHECK(table.find(b)->shape[0] == 2);
  CHECK(table.remove(a));
  CHECK(table.find(a) == nullptr);
  CHECK(!table.remove(a));  // twice is no error and frees nothing
  CHECK(table.alive() == 1);
  const double c = table.add(some(3));  // the slot again, in another generation
  CHECK(c != a);
  CHECK(table.find(a) == nullptr);
  CHECK(table.find(c)->shape[0] == 3);
  CHECK(table.find(b)->shape[0] == 2);
  table.clear();
  CHECK(table.alive() == 0);
  CHECK(table.find(b) == nullptr);
}

void forged() {
  HandleTable table(1);
  const double a = table.add(some(1));
  const double nan = std::numeric_limits<double>::quiet_NaN(), inf = std::numeric_limits<double>::infinity();
  for (const double h : {-1.0, -0.5, a + 0.5, a + 1, a - 1, a + 16777216.0, nan, inf, -inf, 1e300, 4503599627370496.0, 9007199254740992.0})
    CHECK_MSG(table.find(h) == nullptr && !table.remove(h), "%g", h);
  CHECK(HandleTable(0).find(0) == nullptr);
  CHECK(table.find(a) != nullptr);
}

// Handles of two instances: one's are hardly ever the other's.
void foreign() {
  HandleTable one(1), two(1 + 0x9E3779B1u);
  int confused = 0;
  for (int i = 0; i < 1000; ++i) {
    const double a = one.add(some(i)), b = two.add(some(i));
    if (two.find(a) || one.find(b)) ++confused;
    if (i % 3 == 0) {
      one.remove(a);
      two.remove(b);
    }
  }
  CHECK(confused == 0);
}

void many() {
  HandleTable table(268435455u);  // the last generation: the next one is 0
  std::set<double> seen;
  check::Rng rng(5);
  std::vector<double> live;
  bool fresh = true;
  for (int i = 0; i < 20000; ++i) {
    if (live.size() < 50 || rng.below(2)) {
      live.push_back(table.add(some(i)));
      fresh = fresh && seen.insert(live.back()).second;
    } else {
      const auto at = static_cast<size_t>(rng.below(static_cast<int64_t>(live.size())));
      CHECK(table.remove(live[at]));
      live[at] = live.back();
      live.pop_back();
    }
  }
  CHECK(fresh);  // no number comes twice
  CHECK(table.alive() == live.size());
  for (const double h : live) CHECK(table.find(h) != nullptr);
}

void rollback() {
  HandleTable table(9);
  const double kept = table.add(some(1)), gone = table.add(some(2));
  table.remove(gone);
  const uint64_t mark = table.mark();
  const double made = table.add(some(3)), more = table.add(some(4));  // the first in an old slot
  CHECK(table.alive() == 3);
  table.rollback(mark);
  CHECK(table.alive() == 1);
  CHECK(table.find(kept) && !table.find(made) && !table.find(more));
  table.rollback(mark);
  CHECK(table.alive() == 1);
}

// What a tensor is for goes with its handle, not with the slot.
void holders() {
  HandleTable table(11);
  const double a = table.add(some(1));
  table.hold(a, heddle::Holder::gradients);
  const auto kinds = [&] {
    std::vector<heddle::Holder> list;
    table.each([&](const Tensor&, heddle::Holder kind) { list.push_back(kind); });
    return list;
  };
  CHECK(kinds() == std::vector{heddle::Holder::gradients});
  table.remove(a);
  CHECK(kinds().empty());
  table.hold(a, heddle::Holder::saved);  // stale: nothing happens
  table.add(some(2));
  CHECK(kinds() == std::vector{heddle::Holder::other});
}

}  // namespace

int main() {
  life();
  forged();
  foreign();
  many();
  rollback();
  holders();
  return check::result();
}
