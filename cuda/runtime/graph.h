#pragma once
// A CUDA graph of what tasks launch: the card is told once, and a launch of all of it costs the host as much as one of a few kernels.
#include <functional>
#include <memory>
#include <string>

#include "core/recording.h"

namespace heddle::cuda {

// Captures what `run_all` launches on this worker's stream; nothing of it runs. Throws OpError for what cannot be captured. A fault of the
// card in a replay does not tell the kernel: errors then say `name`.
std::unique_ptr<Captured> capture(const std::string& name, const std::function<void()>& run_all);

}  // namespace heddle::cuda
