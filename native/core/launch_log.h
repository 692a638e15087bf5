#pragma once
// Which kernels ran: what tests ask when they want to know that a variant was chosen. Off unless asked for.
#include <cstddef>
#include <string>
#include <vector>

namespace heddle {

struct LaunchRecord {
  std::string kernel;
  unsigned grid[3];
  unsigned threads;
  size_t shared;
};

void log_launch(const char* name, unsigned x, unsigned y, unsigned z, unsigned threads, size_t shared);
void start_launch_log();
std::vector<LaunchRecord> take_launch_log();  // ends it

}  // namespace heddle
