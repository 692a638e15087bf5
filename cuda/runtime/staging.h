#pragma once
// Copies between the host's ordinary memory and a card, through pinned buffers: the card reads and writes those by itself, so the
// copying of one piece overlaps the transfer of the other. All calls are on the device's worker.
#include <cuda_runtime_api.h>

#include <cstddef>

namespace heddle::cuda {

class Staging {
 public:
  Staging();
  ~Staging();
  Staging(const Staging&) = delete;
  Staging& operator=(const Staging&) = delete;

  void copy_in(void* to, const void* from, size_t bytes, cudaStream_t stream);   // returns when `from` has been read
  void copy_out(void* to, const void* from, size_t bytes, cudaStream_t stream);  // returns when `to` is complete

 private:
  struct Piece {
    void* memory = nullptr;
    cudaEvent_t done = nullptr;  // the card has finished with it
  };
  static constexpr size_t kBytes = size_t{4} << 20;
  Piece pieces_[2];
};

}  // namespace heddle::cuda
