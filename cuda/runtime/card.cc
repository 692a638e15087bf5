#include "runtime/card.h"

#include <cuda_runtime_api.h>

#include <deque>
#include <mutex>

#include "core/error.h"
#include "runtime/error.h"
#include "runtime/probe.h"

namespace heddle::cuda {
namespace {

std::string why(cudaError_t e) {
  int driver = 0;
  cudaDriverGetVersion(&driver);
  if (driver == 0) return "no NVIDIA driver is installed, or it does not answer";
  if (e == cudaErrorInsufficientDriver)
    return "the NVIDIA driver is too old: it serves CUDA " + version_text(driver) + ", heddle was built with CUDA " +
           version_text(CUDART_VERSION) + "; update the driver";
  if (e == cudaErrorNoDevice) return "the NVIDIA driver sees no GPU (is CUDA_VISIBLE_DEVICES empty?)";
  return text_of(e);
}

Card read(int index) {
  cudaDeviceProp p;
  check(cudaGetDeviceProperties(&p, index), "cudaGetDeviceProperties");
  Card c;
  c.index = index;
  c.name = p.name;
  c.sm = 10 * p.major + p.minor;
  c.multiprocessors = p.multiProcessorCount;
  c.threads_per_multiprocessor = p.maxThreadsPerMultiProcessor;
  c.shared_per_block = p.sharedMemPerBlockOptin;
  c.shared_per_multiprocessor = p.sharedMemPerMultiprocessor;
  c.l2_bytes = static_cast<size_t>(p.l2CacheSize);
  c.memory = p.totalGlobalMem;
  c.cooperative = p.cooperativeLaunch != 0;
  check(cudaSetDevice(index), "cudaSetDevice");
  c.hopper = c.sm == 90 && has_hopper_code();  // code for sm_90a runs on no other
  return c;
}

}  // namespace

int card_count(std::string* problem) {
  int n = 0;
  const cudaError_t e = cudaGetDeviceCount(&n);
  if (e == cudaSuccess && n > 0) return n;
  cudaGetLastError();
  if (problem) *problem = why(e == cudaSuccess ? cudaErrorNoDevice : e);
  return 0;
}

const Card& card(int index) {
  static std::mutex mutex;
  static std::deque<Card> cards;
  const std::lock_guard<std::mutex> lock(mutex);
  std::string problem;
  const int n = cards.empty() ? card_count(&problem) : static_cast<int>(cards.size());
  if (n == 0) throw OpError("there is no CUDA device: " + problem, ErrorCode::device);
  while (static_cast<int>(cards.size()) < n) cards.push_back(read(static_cast<int>(cards.size())));
  if (index < 0 || index >= n)
    throw OpError("device must be one of cuda:0 to cuda:" + std::to_string(n - 1) + ", got cuda:" + std::to_string(index),
                  ErrorCode::device);
  return cards[static_cast<size_t>(index)];
}

}  // namespace heddle::cuda
