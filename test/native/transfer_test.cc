// toDevice between two devices of one process: bytes, the order of both streams, errors, an end in the middle.
#include <atomic>
#include <chrono>
#include <memory>
#include <optional>
#include <thread>

#include "check.h"
#include "ops/ops.h"

using namespace heddle;

namespace {

void sleep_ms(int ms) { std::this_thread::sleep_for(std::chrono::milliseconds(ms)); }

std::string wait(Device& d) {
  return check::error_of([&] { d.stream->wait(); });
}

struct Pair {
  std::unique_ptr<Device> a = make_cpu_device(1), b = make_cpu_device(1);
};

// 0, 1, 2, ... in the shape given.
Tensor counting(Device* d, const Shape& shape) {
  Tensor t = Tensor::empty(d, DType::f32, shape);
  d->stream->wait();
  for (int64_t i = 0; i < t.elements(); ++i) t.data<float>()[i] = static_cast<float>(i);
  return t;
}

void bytes_and_order() {
  const Pair p;
  const Tensor x = counting(p.a.get(), {3, 5});
  p.a->stream->enqueue("slow", [] { sleep_ms(20); });
  const Tensor y = ops::to_device(ops::permute(x, {1, 0}), p.b.get());  // what was made dense for the way is free at once
  ops::fill(x, -1);                                                     // later on the source: not seen
  const Tensor z = ops::binary(y, y, Binary::add);                      // later on the destination: sees what came
  CHECK(wait(*p.b).empty());
  bool right = y.device() == p.b.get() && y.dense() && y.shape == Shape{5, 3};
  for (int64_t i = 0; i < 15; ++i) {
    const float want = static_cast<float>(i % 3 * 5 + i / 3);
    right = right && y.data<float>()[i] == want && z.data<float>()[i] == 2 * want;
  }
  CHECK(right);
  CHECK(p.a->copies_out == 1 && p.b->copies_out == 0);
  CHECK(ops::to_device(x, p.a.get()).storage == x.storage);
  CHECK(ops::to_device(Tensor::empty(p.a.get(), DType::i32, {0, 4}), p.b.get()).shape == Shape({0, 4}));
  CHECK(p.a->copies_out == 1);
}

void there_and_back() {
  const Pair p;
  Tensor x = counting(p.a.get(), {100000});
  for (int i = 0; i < 50; ++i) {
    x = ops::to_device(x, p.b.get());
    x = ops::unary(x, Unary::neg);
    x = ops::to_device(x, p.a.get());
  }
  CHECK(wait(*p.a).empty());
  bool same = true;
  for (int64_t i = 0; i < x.elements(); ++i) same = same && x.data<float>()[i] == static_cast<float>(i);
  CHECK(same);
}

// An error on the source skips the copy; the destination tells it, and both go on after it was told.
void errors() {
  const Pair p;
  const Tensor x = counting(p.a.get(), {4});
  p.a->stream->enqueue("bad", [] { throw OpError("bad: id 7 is out of range"); });
  ops::to_device(x, p.b.get());
  CHECK(wait(*p.b) == "bad: id 7 is out of range");
  CHECK(wait(*p.a) == "bad: id 7 is out of range");
  CHECK(wait(*p.b).empty());

  p.b->stream->enqueue("bad", [] { throw OpError("bad: on the destination"); });
  ops::to_device(x, p.b.get());
  CHECK(wait(*p.b) == "bad: on the destination");
  CHECK(wait(*p.a).empty());

  const Tensor y = ops::to_device(x, p.b.get());
  CHECK(wait(*p.b).empty());
  CHECK(y.data<float>()[3] == 3);
}

// Whichever device ends first, the other one's worker is not left waiting.
void ends() {
  for (const bool source_first : {true, false}) {
    Pair p;
    {
      const Tensor x = counting(p.a.get(), {1000});
      p.a->stream->enqueue("slow", [] { sleep_ms(20); });
      for (int i = 0; i < 10; ++i) ops::to_device(x, p.b.get());
      (source_first ? p.a : p.b)->stream.reset();
      if (source_first) CHECK(wait(*p.b).find("stream has ended") != std::string::npos);
    }
    (source_first ? p.b : p.a)->stream.reset();
  }
}

}  // namespace

int main() {
  check::backend();
  bytes_and_order();
  there_and_back();
  errors();
  ends();
  return check::result();
}
