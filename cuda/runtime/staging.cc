#include "runtime/staging.h"

#include <algorithm>
#include <cstring>

#include "runtime/error.h"

namespace heddle::cuda {

Staging::Staging() {
  for (Piece& p : pieces_) {
    check(cudaHostAlloc(&p.memory, kBytes, cudaHostAllocDefault), "pinned memory");
    check(cudaEventCreateWithFlags(&p.done, cudaEventDisableTiming), "cudaEventCreate");
  }
}

Staging::~Staging() {  // errors: the device may be lost, and nothing is left to do
  for (Piece& p : pieces_) {
    if (p.done) cudaEventDestroy(p.done);
    if (p.memory) cudaFreeHost(p.memory);
  }
}

// cudaMemcpyDefault: a tensor of the device may lie in the host's memory (Placement in core/tensor.h).
void Staging::copy_in(void* to, const void* from, size_t bytes, cudaStream_t stream) {
  for (size_t at = 0, i = 0; at < bytes; at += kBytes, i ^= 1) {
    const size_t n = std::min(kBytes, bytes - at);
    Piece& p = pieces_[i];
    check(cudaEventSynchronize(p.done), "copy to the device");
    std::memcpy(p.memory, static_cast<const char*>(from) + at, n);
    check(cudaMemcpyAsync(static_cast<char*>(to) + at, p.memory, n, cudaMemcpyDefault, stream), "copy to the device");
    check(cudaEventRecord(p.done, stream), "copy to the device");
  }
}

void Staging::copy_out(void* to, const void* from, size_t bytes, cudaStream_t stream) {
  const auto fetch = [&](size_t at, size_t i) {
    check(cudaMemcpyAsync(pieces_[i].memory, static_cast<const char*>(from) + at, std::min(kBytes, bytes - at), cudaMemcpyDefault, stream),
          "copy from the device");
    check(cudaEventRecord(pieces_[i].done, stream), "copy from the device");
  };
  // A piece that copy_in used last is free: what follows on the stream overwrites it after its transfer.
  if (bytes) fetch(0, 0);
  for (size_t at = 0, i = 0; at < bytes; at += kBytes, i ^= 1) {
    if (at + kBytes < bytes) fetch(at + kBytes, i ^ 1);
    check(cudaEventSynchronize(pieces_[i].done), "copy from the device");
    std::memcpy(static_cast<char*>(to) + at, pieces_[i].memory, std::min(kBytes, bytes - at));
  }
}

}  // namespace heddle::cuda
