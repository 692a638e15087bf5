#pragma once
// What a GPU is: read once per process from the driver, never a constant in a kernel.
#include <cstddef>
#include <string>

namespace heddle::cuda {

struct Card {
  int index;
  std::string name;
  int sm;  // 10 * major + minor of the compute capability: 75, 80, 90
  int multiprocessors;
  int threads_per_multiprocessor;
  size_t shared_per_block;  // what a block may have, opted in
  size_t shared_per_multiprocessor;
  size_t l2_bytes;
  size_t memory;  // bytes
  bool cooperative;
  bool hopper;  // the kernels of *_sm90.cu run here
  bool simulated() const { return name.rfind("simulated ", 0) == 0; }
  bool has_bf16() const { return sm >= 80; }  // mma.sync on bf16, cp.async
};

// The cards that the driver shows; `problem` says why there are none. Never throws.
int card_count(std::string* problem = nullptr);

const Card& card(int index);  // throws OpError when there is no such card

}  // namespace heddle::cuda
