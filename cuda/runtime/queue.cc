#include "runtime/queue.h"

#include <algorithm>
#include <vector>

#include "core/error.h"
#include "runtime/error.h"
#include "runtime/lost.h"

namespace heddle::cuda {
namespace {

thread_local Queue* current = nullptr;
thread_local std::vector<std::string> replays;

}  // namespace

void set_queue(Queue* q) { current = q; }

Queue& queue() {
  if (!current) throw OpError("a CUDA kernel was launched outside of a device's stream", ErrorCode::internal);
  return *current;
}

void note_replay(const std::string& graph) {
  if (std::find(replays.begin(), replays.end(), graph) == replays.end()) replays.push_back(graph);
}

void forget_replays() { replays.clear(); }

std::string lost_text(const std::string& device, cudaError_t e, const char* what) {
  std::string replayed;
  for (const std::string& graph : replays) replayed += (replayed.empty() ? ", after replays of captured ops: " : "; ") + graph;
  return device + " is lost: " + text_of(e) + ", found by " + what + replayed +
         ". What was on it is gone and this process cannot use it again; the CPU still works, and a new process can go on "
         "from the last checkpoint";
}

std::string lost_message(cudaError_t e, const char* what) {
  const std::string message = lost_text(current ? "cuda:" + std::to_string(current->card->index) : "the CUDA device", e, what);
  if (current && current->lost.empty()) current->lost = message;
  return current ? current->lost : message;
}

}  // namespace heddle::cuda
