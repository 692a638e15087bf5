// Module init, and what is no op: life and death of handles, host memory in and out, device facts.
#include <node_api.h>

#include <cstdlib>
#include <cstring>

#include "build_info.h"
#include "cpu/host/dispatch.h"
#include "napi/bind.h"
#include "napi/table.h"
#include "ops/check.h"

namespace heddle {
namespace {

using bind::check;
using bind::Codec;

// Arguments of a hand-written function.
struct Call {
  napi_env env;
  napi_value values[4];
  Instance& instance;

  Call(napi_env e, napi_callback_info info) : env(e), instance(Instance::of(e)) {
    size_t n = 4;
    check(napi_get_cb_info(e, info, &n, values, nullptr, nullptr));
  }
  template <class T>
  decltype(auto) get(int i, const char* name) const {
    return bind::CodecFor<T>::in({env, instance, values[i], name});
  }
};

napi_value number(napi_env env, double d) {
  napi_value v;
  check(napi_create_double(env, d, &v));
  return v;
}

void set(napi_env env, napi_value object, const char* key, napi_value value) { check(napi_set_named_property(env, object, key, value)); }

napi_value strings(napi_env env, const std::vector<std::string>& list) {
  napi_value array;
  check(napi_create_array_with_length(env, list.size(), &array));
  for (uint32_t i = 0; i < list.size(); ++i) check(napi_set_element(env, array, i, bind::string_of(env, list[i])));
  return array;
}

napi_value dispose(const Call& c) {
  double handle = 0;
  if (napi_get_value_double(c.env, c.values[0], &handle) == napi_ok) c.instance.handles().remove(handle);
  return nullptr;
}

napi_value mark(const Call& c) { return number(c.env, static_cast<double>(c.instance.handles().mark())); }

napi_value rollback(const Call& c) {
  c.instance.handles().rollback(static_cast<uint64_t>(c.get<int64_t>(0, "mark")));
  return nullptr;
}

napi_value shape(const Call& c) { return Codec<Shape>::out(c.env, c.instance, c.get<Tensor>(0, "x").shape); }
napi_value strides(const Call& c) { return Codec<Shape>::out(c.env, c.instance, c.get<Tensor>(0, "x").stride); }
napi_value dtype(const Call& c) { return bind::CodecFor<DType>::out(c.env, c.instance, c.get<Tensor>(0, "x").dtype); }
napi_value device(const Call& c) { return bind::string_of(c.env, c.get<Tensor>(0, "x").device()->name); }

// The bytes of a typed array or ArrayBuffer.
void bytes_of(const Call& c, int i, const char* name, void** data, size_t* bytes) {
  bool typed = false, buffer = false;
  check(napi_is_typedarray(c.env, c.values[i], &typed));
  check(napi_is_arraybuffer(c.env, c.values[i], &buffer));
  if (typed) {
    napi_typedarray_type type;
    size_t n;
    check(napi_get_typedarray_info(c.env, c.values[i], &type, &n, data, nullptr, nullptr));
    static constexpr size_t sizes[] = {1, 1, 1, 2, 2, 4, 4, 4, 8, 8, 8};
    *bytes = n * sizes[type];
  } else if (buffer) {
    check(napi_get_arraybuffer_info(c.env, c.values[i], data, bytes));
  } else {
    bind::wrong_argument(name, "a typed array or an ArrayBuffer", bind::kind_of(c.env, c.values[i]));
  }
}

// write(out, bytes): the bytes are taken at once; they reach the device in stream order.
napi_value write(const Call& c) {
  const Tensor& out = c.get<Tensor>(0, "out");
  void* data;
  size_t bytes;
  bytes_of(c, 1, "data", &data, &bytes);
  const size_t expected = static_cast<size_t>(out.elements()) * size_of(out.dtype);
  require(out.dense(), "out", "dense", "a strided view");
  require(bytes == expected, "data", std::to_string(expected) + " bytes for " + text(out), std::to_string(bytes));
  if (!bytes) return nullptr;
  const auto copy = out.device()->copy_bytes;
  void* to = out.data<void>();
  struct Small {
    unsigned char bytes[256];
  };
  if (bytes <= sizeof(Small)) {  // travels in the task
    Small small;
    std::memcpy(small.bytes, data, bytes);
    out.device()->stream->enqueue(current_op, [=] { copy(to, small.bytes, bytes); });
    return nullptr;
  }
  void* staging = std::malloc(bytes);
  if (!staging) throw OpError("write: the system has no " + std::to_string(bytes) + " bytes for staging", ErrorCode::out_of_memory);
  std::memcpy(staging, data, bytes);
  out.device()->stream->enqueue(current_op, [=] { copy(to, staging, bytes); });
  out.device()->stream->enqueue_always(current_op, [=] { std::free(staging); });
  return nullptr;
}

// Enqueues the copy of x's elements, dense, into a new ArrayBuffer. Its memory stays put while the buffer is referenced.
napi_value read_into_buffer(const Call& c, Device** on) {
  const Tensor& given = c.get<Tensor>(0, "x");
  const Tensor x = given.dense() ? given : copy_of(given, given.dtype);
  const size_t bytes = static_cast<size_t>(x.elements()) * size_of(x.dtype);
  napi_value buffer;
  void* to = nullptr;
  check(napi_create_arraybuffer(c.env, bytes, &to, &buffer));
  *on = x.device();
  const auto copy = x.device()->copy_bytes;
  const void* from = x.data<void>();
  if (bytes) x.device()->stream->enqueue(current_op, [=] { copy(to, from, bytes); });
  return buffer;
}

napi_value read(const Call& c) {
  Device* on;
  const napi_value buffer = read_into_buffer(c, &on);
  return c.instance.when_done(on, buffer);
}

napi_value read_sync(const Call& c) {
  Device* on;
  const napi_value buffer = read_into_buffer(c, &on);
  on->stream->wait();
  return buffer;
}

napi_value synchronize(const Call& c) {
  napi_value none;
  check(napi_get_undefined(c.env, &none));
  return c.instance.when_done(c.get<Device*>(0, "device"), none);
}

napi_value synchronize_sync(const Call& c) {
  c.get<Device*>(0, "device")->stream->wait();
  return nullptr;
}

napi_value memory(const Call& c) {
  const MemoryStats s = c.get<Device*>(0, "device")->memory->stats();
  napi_value o;
  check(napi_create_object(c.env, &o));
  const std::pair<const char*, int64_t> fields[] = {
      {"used", s.used}, {"peak", s.peak}, {"cached", s.cached}, {"limit", s.limit}, {"blocks", s.blocks}};
  for (const auto& [key, value] : fields) set(c.env, o, key, number(c.env, static_cast<double>(value)));
  set(c.env, o, "tensors", number(c.env, static_cast<double>(c.instance.handles().alive())));
  return o;
}

napi_value set_memory_limit(const Call& c) {
  Device* d = c.get<Device*>(0, "device");
  const int64_t bytes = c.get<int64_t>(1, "bytes");
  require(bytes >= 0, "bytes", "at least 0 (0: no limit)", std::to_string(bytes));
  d->memory->set_limit(bytes);
  return nullptr;
}

napi_value reset_peak(const Call& c) {
  c.get<Device*>(0, "device")->memory->reset_peak();
  return nullptr;
}

napi_value release_cache(const Call& c) {
  c.get<Device*>(0, "device")->memory->release_cache();
  return nullptr;
}

napi_value set_threads(const Call& c) {
  const int64_t n = c.get<int64_t>(0, "threads");
  require(n >= 1 && n <= 1024, "threads", "from 1 to 1024", std::to_string(n));
  c.instance.device("cpu")->set_threads(static_cast<int>(n));
  return nullptr;
}

napi_value info(const Call& c) {
  napi_value o;
  check(napi_create_object(c.env, &o));
  set(c.env, o, "version", bind::string_of(c.env, HEDDLE_VERSION));
  set(c.env, o, "isa", bind::string_of(c.env, cpu::level()));
  set(c.env, o, "isas", strings(c.env, cpu::machine_levels()));
  set(c.env, o, "compiledIsas", strings(c.env, cpu::compiled_levels()));
  set(c.env, o, "threads", number(c.env, c.instance.device("cpu")->threads));
  set(c.env, o, "cuda", bind::string_of(c.env, "this build has no CUDA backend"));
  return o;
}

napi_value signatures(const Call& c) { return bind::string_of(c.env, op_signatures()); }

using Function = napi_value (*)(const Call&);
struct Named {
  const char* name;
  Function fn;
};
constexpr Named kFunctions[] = {
    {"dispose", dispose},
    {"shape", shape},
    {"strides", strides},
    {"dtype", dtype},
    {"device", device},
    {"write", write},
    {"read", read},
    {"readSync", read_sync},
    {"synchronize", synchronize},
    {"synchronizeSync", synchronize_sync},
    {"memory", memory},
    {"setMemoryLimit", set_memory_limit},
    {"resetPeak", reset_peak},
    {"releaseCache", release_cache},
    {"setThreads", set_threads},
    {"info", info},
    {"signatures", signatures},
    {"mark", mark},
    {"rollback", rollback},
};

napi_value call(napi_env env, napi_callback_info raw) {
  void* data;
  napi_get_cb_info(env, raw, nullptr, nullptr, nullptr, &data);
  const Named& f = *static_cast<const Named*>(data);
  return bind::guarded(env, f.name, [&] { return f.fn(Call(env, raw)); });
}

void shut_down(void* env_pointer) {
  const auto env = static_cast<napi_env>(env_pointer);
  void* instance = nullptr;
  napi_get_instance_data(env, &instance);
  napi_set_instance_data(env, nullptr, nullptr, nullptr);
  delete static_cast<Instance*>(instance);
}

napi_value init(napi_env env, napi_value exports) {
  return bind::guarded(env, "heddle", [&] {
    check(napi_set_instance_data(env, new Instance(env), nullptr, nullptr));
    // Hooks run last in, first out: the workers are joined before Node closes the function that they call.
    check(napi_add_env_cleanup_hook(env, shut_down, env));
    install_ops(env, exports);
    for (const Named& f : kFunctions) {
      napi_value fn;
      check(napi_create_function(env, f.name, NAPI_AUTO_LENGTH, call, const_cast<Named*>(&f), &fn));
      set(env, exports, f.name, fn);
    }
    return exports;
  });
}

}  // namespace
}  // namespace heddle

NAPI_MODULE_INIT() { return heddle::init(env, exports); }
