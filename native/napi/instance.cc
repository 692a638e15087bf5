#include "napi/instance.h"

#ifdef __GLIBC__
#include <malloc.h>
#endif

#include <atomic>

#include "napi/bind.h"
#include "napi/holders.h"

namespace heddle {
namespace {

uint32_t next_generation() {
  static std::atomic<uint32_t> instances{0};
  // The address tells apart two copies of the addon in one process, each with a counter of its own.
  const auto copy = static_cast<uint32_t>(reinterpret_cast<uintptr_t>(&instances) >> 12);
  return (1 + copy + instances.fetch_add(1)) * 0x9E3779B1u;
}

}  // namespace

struct Instance::Waiter {
  Device* device;
  napi_deferred deferred;
  napi_ref keep;
  StreamResult error;
};

Instance::Instance(napi_env env) : env_(env), handles_(next_generation()) {
  napi_value name;
  bind::check(napi_create_string_utf8(env, "heddle", NAPI_AUTO_LENGTH, &name));
  bind::check(napi_create_threadsafe_function(env, nullptr, nullptr, name, 0, 1, nullptr, nullptr, this, settle, &settle_));
  bind::check(napi_unref_threadsafe_function(env, settle_));  // only a promise that waits keeps the process alive
}

Instance::~Instance() {
  handles_.clear();
  graphs_.clear();
  devices_.clear();  // joins the workers: nothing calls settle_ after this
  napi_release_threadsafe_function(settle_, napi_tsfn_abort);
#ifdef __GLIBC__
  malloc_trim(0);  // what a thread that ends has freed stays in glibc's arenas otherwise, some MiB for each of them
#endif
}

Instance& Instance::of(napi_env env) {
  void* data = nullptr;
  napi_get_instance_data(env, &data);
  if (!data) throw OpError("the addon has been shut down", ErrorCode::internal);
  return *static_cast<Instance*>(data);
}

namespace {

// The number in "cuda:1"; 0 for "cuda"; -1 for what is no GPU's name.
int card_of(const std::string& name) {
  if (name == "cuda") return 0;
  if (name.rfind("cuda:", 0) != 0 || name.size() < 6 || name.size() > 8) return -1;
  for (size_t i = 5; i < name.size(); ++i)
    if (name[i] < '0' || name[i] > '9') return -1;
  return std::stoi(name.substr(5));
}

// The first GPU that is real and works. Looked for once: a card does not come or go while a process runs.
const std::string& automatic() {
  static const std::string name = [] {
    const CudaStatus status = cuda_status();
    for (size_t i = 0; i < status.cards.size(); ++i)
      if (!status.cards[i].simulated && status.cards[i].problem.empty()) return "cuda:" + std::to_string(i);
    return std::string("cpu");
  }();
  return name;
}

}  // namespace

Device* Instance::device(const std::string& name) {
  if (name == "auto") return device(automatic());
  const bool plan = name.rfind("plan:", 0) == 0;
  const int card = name == "cpu" || plan ? -1 : card_of(name);
  if (name != "cpu" && !plan && card < 0) throw OpError("device must be 'cpu', 'cuda', 'cuda:N' or 'auto', got '" + name + "'");
  auto& slot = devices_[plan ? name : card < 0 ? "cpu" : "cuda:" + std::to_string(card)];
  if (!slot) {
    slot = plan ? make_plan_device(name.substr(5)) : card < 0 ? make_cpu_device(default_threads()) : make_cuda_device(card);
    slot->memory->set_holders([this, d = slot.get()] { return text(holders_of(handles_, *d)); });
    if (slot->plans) slot->memory->set_on_peak([this, d = slot.get()] { peaks_[d] = holders_of(handles_, *d); });
  }
  return slot.get();
}

const MemoryHolders& Instance::holders_at_peak(const Device* device) {
  if (!device->plans) throw OpError("holdersAtPeak: device must be a dry run's, got '" + device->name + "'");
  return peaks_[device];
}

void Instance::explain(StreamError* error, const Device& device) const {
  if (error->code == ErrorCode::out_of_memory) error->message += text(holders_of(handles_, device));
}

void Instance::wait(Device* device) {
  try {
    device->stream->wait();
  } catch (const OpError& e) {
    StreamError error{e.code, e.what()};
    explain(&error, *device);
    throw OpError(error.message, error.code);
  }
}

napi_value Instance::when_done(Device* device, napi_value keep, const std::function<void()>& last) {
  auto waiter = std::make_unique<Waiter>(Waiter{device, nullptr, nullptr, std::nullopt});
  Waiter* w = waiter.get();
  napi_value promise;  // each call may fail: somebody may be ending this thread
  bind::check(napi_create_promise(env_, &w->deferred, &promise));
  napi_valuetype type;
  bind::check(napi_typeof(env_, keep, &type));
  // Before Node-API 10 undefined cannot be referred to: without a reference the promise resolves to undefined.
  if (type != napi_undefined) bind::check(napi_create_reference(env_, keep, 1, &w->keep));
  if (waiting_ == 0) bind::check(napi_ref_threadsafe_function(env_, settle_));
  ++waiting_;
  waiter.release();
  last();
  device->stream->notify([this, w](StreamResult error) {
    w->error = std::move(error);
    napi_call_threadsafe_function(settle_, w, napi_tsfn_blocking);
  });
  return promise;
}

void Instance::settle(napi_env env, napi_value, void* context, void* data) {
  const std::unique_ptr<Waiter> w(static_cast<Waiter*>(data));
  if (!env) return;  // the environment is going: nobody waits any more
  auto* self = static_cast<Instance*>(context);
  if (--self->waiting_ == 0) napi_unref_threadsafe_function(env, self->settle_);
  napi_value value;
  napi_get_undefined(env, &value);
  if (w->keep) {
    napi_get_reference_value(env, w->keep, &value);
    napi_delete_reference(env, w->keep);
  }
  if (w->error) {
    self->explain(&*w->error, *w->device);
    napi_reject_deferred(env, w->deferred, bind::make_error(env, w->error->code, w->error->message));
  } else {
    napi_resolve_deferred(env, w->deferred, value);
  }
}

}  // namespace heddle
