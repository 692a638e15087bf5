#pragma once
// Everything of one JavaScript environment: its devices, its tensors, the promises it waits for. A worker thread that loads
// the addon gets an instance of its own.
#include <node_api.h>

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "core/device.h"
#include "napi/graphs.h"
#include "napi/handle.h"
#include "napi/holders.h"

namespace heddle {

class Instance {
 public:
  explicit Instance(napi_env env);
  ~Instance();
  Instance(const Instance&) = delete;
  Instance& operator=(const Instance&) = delete;

  static Instance& of(napi_env env);

  Device* device(const std::string& name);  // made at first use; throws naming what there is
  HandleTable& handles() { return handles_; }
  GraphTable& graphs() { return graphs_; }
  const MemoryHolders& holders_at_peak(const Device* device);  // of a dry run

  void wait(Device* device);  // blocks; throws the error that the device found, out of memory with who holds what

  // A promise that settles when all that was enqueued on the device is done, `last` included: with `keep`, or with the error found.
  // `last` may write to the memory of `keep`: it is enqueued only once that is held fast.
  napi_value when_done(Device* device, napi_value keep, const std::function<void()>& last = [] {});

 private:
  struct Waiter;
  // Out of memory while executing was found where nobody knows the handles: what the allocator's own errors say is added here.
  void explain(StreamError* error, const Device& device) const;
  static void settle(napi_env env, napi_value, void* context, void* data);

  napi_env env_;
  napi_threadsafe_function settle_ = nullptr;
  int waiting_ = 0;
  std::map<std::string, std::unique_ptr<Device>> devices_;
  std::map<const Device*, MemoryHolders> peaks_;
  HandleTable handles_;
  GraphTable graphs_;
};

}  // namespace heddle
