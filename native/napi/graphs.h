#pragma once
// Captured graphs of one JavaScript environment, by number: ops that were noted instead of run (core/recording.h), and the memory that they
// use, which several graphs may share.
#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "core/device.h"

namespace heddle {

class GraphTable {
 public:
  // From now on the device's ops are noted. `shared`: a graph whose memory the new one may use, too; 0: it gets its own. `name`: for
  // errors.
  void begin(Device* device, int64_t shared, const std::string& name);
  int64_t end();  // its number
  void drop();    // nothing was captured

  void replay(int64_t graph);
  void release(int64_t graph);
  const Recording& inspect(int64_t graph);  // waits for the device, which fills in what became of it
  void clear();                             // while the devices' streams run

 private:
  // Memory that serves captured graphs only, until the last of them goes.
  struct Pool {
    Pool(Device* d, int64_t n) : device(d), number(n) {}
    ~Pool() { device->memory->release_pool(number); }
    Pool(const Pool&) = delete;
    Pool& operator=(const Pool&) = delete;

    Device* device;
    int64_t number;
  };
  struct Graph {
    std::shared_ptr<Pool> pool;
    std::unique_ptr<Recording> tasks;
  };

  Graph& find(int64_t graph);
  std::unique_ptr<Recording> stop();

  std::map<int64_t, Graph> graphs_;
  std::shared_ptr<Pool> under_way_;  // of the capture, if there is one
  int64_t made_ = 0, pools_ = 0;
};

}  // namespace heddle
