// Guarded tensors: fresh ones are poisoned, and who writes before or after one is told.
#include <cmath>

#include "check.h"
#include "ops/ops.h"

using namespace heddle;

namespace {

std::string wait(Device& d) {
  return check::error_of([&] { d.stream->wait(); });
}

// Makes a tensor of 3 elements and writes to byte `at` of it.
std::string write_at(Device& d, int64_t at) {
  {
    const Tensor t = Tensor::empty(&d, DType::f32, {3});
    d.stream->wait();
    t.data<char>()[at] = 0;
  }
  return wait(d);
}

}  // namespace

int main() {
  check::backend();
  const auto d = make_cpu_device(1);
  d->guarded = true;
  {
    const Tensor x = Tensor::empty(d.get(), DType::f32, {2, 3}), ids = Tensor::empty(d.get(), DType::i32, {4});
    CHECK(wait(*d).empty());
    bool poisoned = true;
    for (int i = 0; i < 6; ++i) poisoned = poisoned && std::isnan(x.data<float>()[i]);
    for (int i = 0; i < 4; ++i) poisoned = poisoned && ids.data<int32_t>()[i] == -1;
    CHECK(poisoned);
  }
  CHECK(wait(*d).empty());
  CHECK(write_at(*d, 0).empty() && write_at(*d, 11).empty());
  CHECK(write_at(*d, 12) == "tensor: byte 12 was written, outside of its 12 bytes");
  CHECK(write_at(*d, -1) == "tensor: byte -1 was written, outside of its 12 bytes");
  CHECK(write_at(*d, 12 + 255) == "tensor: byte 267 was written, outside of its 12 bytes");
  CHECK(write_at(*d, -256) == "tensor: byte -256 was written, outside of its 12 bytes");
  d->guarded = false;
  CHECK(d->memory->stats().blocks == 0 && write_at(*d, 0).empty());
  return check::result();
}
