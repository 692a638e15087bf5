#pragma once
#include <cuda_runtime_api.h>

#include <string>

namespace heddle::cuda {

// What to say of a device whose context an error has ended.
std::string lost_text(const std::string& device, cudaError_t e, const char* what);

// A fault within a captured graph does not tell the kernel. So the messages of a device's worker name the graphs that it replayed since all
// was done.
void note_replay(const std::string& graph);
void forget_replays();

}  // namespace heddle::cuda
