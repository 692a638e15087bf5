// Module init, and what is no op: life and death of handles, host memory in and out, device facts.
#include <napi.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "build_info.h"
#include "core/launch_log.h"
#include "cpu/host/bf16.h"
#include "cpu/host/caches.h"
#include "cpu/host/dispatch.h"
#include "napi/bind.h"
#include "napi/holders.h"
#include "napi/table.h"
#include "ops/check.h"

namespace heddle {
namespace {

using bind::check;
using bind::Codec;

// A hand-written function: its arguments, decoded by the codecs of the ops.
struct Call {
  const Napi::CallbackInfo& info;
  Instance& instance;

  Napi::Env env() const { return info.Env(); }
  template <class T>
  decltype(auto) get(size_t i, const char* name) const {
    return bind::CodecFor<T>::in({info.Env(), instance, info[i], name});
  }
};

Napi::Array strings(Napi::Env env, const std::vector<std::string>& list) {
  auto array = Napi::Array::New(env, list.size());
  for (uint32_t i = 0; i < list.size(); ++i) array.Set(i, list[i]);
  return array;
}

Napi::Value dispose(const Call& c) {
  if (c.info[0].IsNumber()) c.instance.handles().remove(c.info[0].As<Napi::Number>().DoubleValue());
  return {};
}

Napi::Value hold(const Call& c) {
  c.get<Tensor>(0, "x");
  c.instance.handles().hold(c.get<double>(0, "x"), c.get<Holder>(1, "as"));
  return {};
}

// A handle of the same memory that a graph keeps for backward.
Napi::Value save(const Call& c) {
  HandleTable& handles = c.instance.handles();
  const double saved = handles.add(c.get<Tensor>(0, "x"));
  handles.hold(saved, Holder::saved);
  return Napi::Number::New(c.env(), saved);
}

Napi::Value mark(const Call& c) { return Napi::Number::New(c.env(), static_cast<double>(c.instance.handles().mark())); }

Napi::Value rollback(const Call& c) {
  c.instance.handles().rollback(static_cast<uint64_t>(c.get<int64_t>(0, "mark")));
  return {};
}

// A value that a codec made.
Napi::Value value(const Call& c, napi_value v) { return {c.env(), v}; }

Napi::Value shape(const Call& c) { return value(c, Codec<Shape>::out(c.env(), c.instance, c.get<Tensor>(0, "x").shape)); }
Napi::Value strides(const Call& c) { return value(c, Codec<Shape>::out(c.env(), c.instance, c.get<Tensor>(0, "x").stride)); }
Napi::Value dtype(const Call& c) { return value(c, bind::CodecFor<DType>::out(c.env(), c.instance, c.get<Tensor>(0, "x").dtype)); }
Napi::Value device(const Call& c) { return Napi::String::New(c.env(), c.get<Tensor>(0, "x").device()->name); }

struct Bytes {
  void* data;
  size_t size;
};

// The bytes of a typed array or an ArrayBuffer.
Bytes bytes_of(const Call& c, size_t i, const char* name) {
  if (c.info[i].IsTypedArray()) {
    auto array = c.info[i].As<Napi::TypedArray>();
    return {static_cast<char*>(array.ArrayBuffer().Data()) + array.ByteOffset(), array.ByteLength()};
  }
  if (!c.info[i].IsArrayBuffer()) bind::wrong_argument(name, "a typed array or an ArrayBuffer", bind::kind_of(c.env(), c.info[i]));
  auto buffer = c.info[i].As<Napi::ArrayBuffer>();
  return {buffer.Data(), buffer.ByteLength()};
}

// write(out, bytes): the bytes are taken at once; they reach the device in stream order.
Napi::Value write(const Call& c) {
  const Tensor& out = c.get<Tensor>(0, "out");
  require_not_capturing(*out.device());
  const auto [data, bytes] = bytes_of(c, 1, "data");
  const size_t expected = static_cast<size_t>(out.elements()) * size_of(out.dtype);
  require(out.dense(), "out", "dense", "a strided view");
  require(bytes == expected, "data", std::to_string(expected) + " bytes for " + text(out), std::to_string(bytes));
  if (!bytes) return {};
  const auto copy = out.device()->copy_in;
  void* to = out.data<void>();
  struct Small {
    unsigned char bytes[256];
  };
  if (bytes <= sizeof(Small)) {  // travels in the task
    Small small;
    std::memcpy(small.bytes, data, bytes);
    out.device()->stream->enqueue(current_op, [copy, to, small, n = bytes] { copy(to, small.bytes, n); });
    return {};
  }
  void* staging = std::malloc(bytes);
  if (!staging)
    fail("out of memory: the system has no " + size_text(static_cast<int64_t>(bytes)) + " for the way to the device",
         ErrorCode::out_of_memory);
  std::memcpy(staging, data, bytes);
  out.device()->stream->enqueue(current_op, [copy, to, staging, n = bytes] { copy(to, staging, n); });
  out.device()->stream->enqueue_always(current_op, [staging] { std::free(staging); });
  return {};
}

// readFile(out, file, offset): bytes of an open file, straight into a tensor whose device can; in stream order. The descriptor may be
// closed at once.
Napi::Value read_file(const Call& c) {
  const Tensor& out = c.get<Tensor>(0, "out");
  require_not_capturing(*out.device());
  const auto offset = c.get<int64_t>(2, "offset");
  const auto read = out.device()->read_in;
  require(read, "out", "on a device that reads files", out.device()->name);
  require(out.dense(), "out", "dense", "a strided view");
  require(offset >= 0, "offset", "at least 0", offset);
  const size_t bytes = static_cast<size_t>(out.elements()) * size_of(out.dtype);
  if (!bytes) return {};
  const int file = dup(static_cast<int>(c.get<int64_t>(1, "file")));
  if (file < 0) fail(std::string("file must be open, got: ") + std::strerror(errno));
  out.device()->stream->enqueue(current_op, [read, to = out.data<void>(), file, offset, bytes] { read(to, file, offset, bytes); });
  out.device()->stream->enqueue_always(current_op, [file] { close(file); });
  return {};
}

// As `new ArrayBuffer(bytes)` in JavaScript: where the system has no memory that is an error, while Node-API's own function ends the
// process.
Napi::ArrayBuffer new_array_buffer(Napi::Env env, size_t bytes) {
  napi_value size, buffer;
  check(napi_create_double(env, static_cast<double>(bytes), &size));
  const Napi::Value constructor = env.Global().Get("ArrayBuffer");
  if (napi_new_instance(env, constructor, 1, &size, &buffer) != napi_ok) {
    napi_value thrown;
    check(napi_get_and_clear_last_exception(env, &thrown));
    fail("out of memory: the system has no " + size_text(static_cast<int64_t>(bytes)) + " for the copy", ErrorCode::out_of_memory);
  }
  return {env, buffer};
}

// x's elements, dense, on their way into an ArrayBuffer.
struct Reading {
  explicit Reading(const Call& c)
      : given(running(c.get<Tensor>(0, "x"))),
        x(given.dense() ? given : copy_of(given, given.dtype)),
        bytes(static_cast<size_t>(x.elements()) * size_of(x.dtype)),
        buffer(new_array_buffer(c.env(), bytes)) {}

  static const Tensor& running(const Tensor& x) {
    require_not_capturing(*x.device());
    return x;
  }

  // From here until the copy is done the buffer must be held fast.
  void enqueue() {
    if (!bytes) return;
    ++x.device()->copies_out;
    const auto copy = x.device()->copy_out;
    x.device()->stream->enqueue(current_op, [copy, to = buffer.Data(), from = x.data<void>(), n = bytes] { copy(to, from, n); });
  }

  const Tensor& given;
  const Tensor x;
  const size_t bytes;
  Napi::ArrayBuffer buffer;
};

Napi::Value read(const Call& c) {
  Reading reading(c);
  return value(c, c.instance.when_done(reading.x.device(), reading.buffer, [&] { reading.enqueue(); }));
}

Napi::Value read_sync(const Call& c) {
  Reading reading(c);
  reading.enqueue();
  c.instance.wait(reading.x.device());
  return reading.buffer;
}

Device* running_device(const Call& c) {
  Device* device = c.get<Device*>(0, "device");
  require_not_capturing(*device);
  return device;
}

Napi::Value synchronize(const Call& c) { return value(c, c.instance.when_done(running_device(c), c.env().Undefined())); }

Napi::Value synchronize_sync(const Call& c) {
  c.instance.wait(running_device(c));
  return {};
}

Napi::Value begin_capture(const Call& c) {
  c.instance.graphs().begin(c.get<Device*>(0, "device"), c.get<int64_t>(1, "shared"), c.get<std::string>(2, "name"));
  return {};
}

Napi::Value end_capture(const Call& c) { return Napi::Number::New(c.env(), static_cast<double>(c.instance.graphs().end())); }

Napi::Value drop_capture(const Call& c) {
  c.instance.graphs().drop();
  return {};
}

Napi::Value replay(const Call& c) {
  c.instance.graphs().replay(c.get<int64_t>(0, "graph"));
  return {};
}

Napi::Value release_graph(const Call& c) {
  c.instance.graphs().release(c.get<int64_t>(0, "graph"));
  return {};
}

// { tasks, captured, problem }
Napi::Value graph_state(const Call& c) {
  const Recording& tasks = c.instance.graphs().inspect(c.get<int64_t>(0, "graph"));
  auto o = Napi::Object::New(c.env());
  o.Set("tasks", static_cast<double>(tasks.tasks().size()));
  o.Set("captured", tasks.captured != nullptr);
  o.Set("problem", tasks.problem);
  return o;
}

Napi::Value memory(const Call& c) {
  const Device& device = *c.get<Device*>(0, "device");
  const MemoryStats s = device.memory->stats();
  auto o = Napi::Object::New(c.env());
  const std::pair<const char*, int64_t> fields[] = {{"used", s.used},
                                                    {"peak", s.peak},
                                                    {"cached", s.cached},
                                                    {"largest", s.largest},
                                                    {"limit", s.limit},
                                                    {"blocks", s.blocks},
                                                    {"graphs", s.pooled},
                                                    {"copiesOut", device.copies_out},
                                                    {"onHost", device.host_memory ? device.host_memory->stats().used : 0}};
  for (const auto& [key, n] : fields) o.Set(key, static_cast<double>(n));
  o.Set("tensors", static_cast<double>(c.instance.handles().alive()));
  return o;
}

// { bytes: by kind, underway, largest: [{ kind, bytes, dtype, shape, op }] }
Napi::Value holders_value(const Call& c, const MemoryHolders& found) {
  const auto name = [](Holder kind) { return EnumNames<Holder>::names[static_cast<int>(kind)]; };
  auto bytes = Napi::Object::New(c.env());
  for (size_t i = 0; i < kHolders; ++i) bytes.Set(name(static_cast<Holder>(i)), static_cast<double>(found.bytes[i]));
  auto largest = Napi::Array::New(c.env(), found.largest.size());
  for (uint32_t i = 0; i < found.largest.size(); ++i) {
    const auto& [kind, size, dtype, shape, op] = found.largest[i];
    auto o = Napi::Object::New(c.env());
    o.Set("kind", name(kind));
    o.Set("bytes", static_cast<double>(size));
    o.Set("dtype", name_of(dtype));
    o.Set("shape", value(c, Codec<Shape>::out(c.env(), c.instance, shape)));
    o.Set("op", op);
    largest.Set(i, o);
  }
  auto o = Napi::Object::New(c.env());
  o.Set("bytes", bytes);
  o.Set("underway", static_cast<double>(found.underway));
  o.Set("largest", largest);
  return o;
}

Napi::Value holders(const Call& c) { return holders_value(c, holders_of(c.instance.handles(), *c.get<Device*>(0, "device"))); }

Napi::Value holders_at_peak(const Call& c) { return holders_value(c, c.instance.holders_at_peak(c.get<Device*>(0, "device"))); }

Napi::Value set_memory_limit(const Call& c) {
  Device* d = c.get<Device*>(0, "device");
  const int64_t bytes = c.get<int64_t>(1, "bytes");
  require(bytes >= 0, "bytes", "at least 0 (0: no limit)", std::to_string(bytes));
  d->memory->set_limit(bytes);
  return {};
}

Napi::Value reset_peak(const Call& c) {
  c.get<Device*>(0, "device")->memory->reset_peak();
  return {};
}

Napi::Value release_cache(const Call& c) {
  Device* d = c.get<Device*>(0, "device");
  d->memory->release_cache();
  if (d->host_memory) d->host_memory->release_cache();
  return {};
}

Napi::Value set_guarded(const Call& c) {
  c.get<Device*>(0, "device")->guarded = c.get<bool>(1, "on");
  return {};
}

// failAt(device, what, n): for tests, the n-th allocation, or scratch buffer of a kernel on the CPU, from now on finds no memory.
Napi::Value fail_at(const Call& c) {
  Device* d = c.get<Device*>(0, "device");
  const auto what = c.get<std::string>(1, "what");
  const int64_t n = c.get<int64_t>(2, "n");
  const bool scratch = what == "scratch" && d->fail_scratch_at;
  require(scratch || what == "allocation", "what", "allocation, or scratch on the CPU", what);
  if (scratch)
    d->fail_scratch_at(n);
  else
    d->memory->fail_at(n);
  return {};
}

Napi::Value set_threads(const Call& c) {
  const int64_t n = c.get<int64_t>(0, "threads");
  require(n >= 1 && n <= 1024, "threads", "from 1 to 1024", std::to_string(n));
  c.instance.device("cpu")->set_threads(static_cast<int>(n));
  return {};
}

Napi::Value time_ops(const Call& c) {
  c.get<Device*>(0, "device")->stream->time_ops();
  return {};
}

Napi::Value take_op_times(const Call& c) {
  const auto times = c.get<Device*>(0, "device")->stream->take_op_times();
  auto list = Napi::Array::New(c.env(), times.size());
  uint32_t i = 0;
  for (const auto& [op, time] : times) {
    auto o = Napi::Object::New(c.env());
    o.Set("op", op);
    o.Set("count", static_cast<double>(time.count));
    o.Set("ms", time.seconds * 1e3);
    list.Set(i++, o);
  }
  return list;
}

Napi::Value set_hollow(const Call& c) {
  c.get<Device*>(0, "device")->stream->set_hollow(c.get<bool>(1, "on"));
  return {};
}

Napi::Value probe(const Call& c) {
  const std::string what = c.get<std::string>(0, "what");
  const std::pair<const char*, cpu::ProbeKind> kinds[] = {
      {"fma", cpu::ProbeKind::fma}, {"copy", cpu::ProbeKind::copy}, {"read", cpu::ProbeKind::read}};
  const int64_t threads = c.get<int64_t>(1, "threads"), bytes = c.get<int64_t>(2, "bytes");
  require(threads >= 1 && threads <= 1024, "threads", "from 1 to 1024", std::to_string(threads));
  for (const auto& [name, kind] : kinds)
    if (what == name) return Napi::Number::New(c.env(), cpu::run_probe(kind, static_cast<int>(threads), bytes));
  throw OpError("probe: what must be fma, copy or read, got " + what);
}

Napi::Value fma_burst(const Call& c) {
  const int64_t steps = c.get<int64_t>(0, "steps");
  require(steps >= 1, "steps", "at least 1", std::to_string(steps));
  Device& cpu = *c.instance.device("cpu");
  cpu.stream->enqueue("wakeThreads", [] { cpu::wake_threads(); });
  cpu.stream->enqueue("fmaBurst", [steps] { cpu::fma_burst(steps); });
  return Napi::Number::New(c.env(), cpu::fma_operations(steps, cpu.threads));
}

Napi::Value memory_burst(const Call& c) {
  const Tensor& from = c.get<Tensor>(0, "from");
  const Tensor* to = c.get<const Tensor*>(1, "to");
  const int64_t bytes = from.elements() * static_cast<int64_t>(size_of(from.dtype));
  require(from.device()->card < 0 && from.dense(), "from", "a dense tensor on the CPU", text(from));
  if (to)
    require(to->device() == from.device() && to->dense() && to->dtype == from.dtype && to->shape == from.shape, "to", text(from),
            text(*to));
  Stream& stream = *from.device()->stream;
  stream.enqueue("wakeThreads", [] { cpu::wake_threads(); });
  stream.enqueue("memoryBurst",
                 [from = from.data<float>(), to = to ? to->data<float>() : nullptr, bytes] { cpu::memory_burst(from, to, bytes); });
  return Napi::Number::New(c.env(), static_cast<double>(to ? 2 * bytes : bytes));
}

Napi::Value info(const Call& c) {
  auto o = Napi::Object::New(c.env());
  o.Set("version", HEDDLE_VERSION);
  o.Set("isa", cpu::level());
  o.Set("bf16", cpu::bf16_kernel().name);
  o.Set("cacheBytes", static_cast<double>(cpu::cache_bytes()));
  o.Set("isas", strings(c.env(), cpu::machine_levels()));
  o.Set("compiledIsas", strings(c.env(), cpu::compiled_levels()));
  o.Set("threads", static_cast<double>(c.instance.device("cpu")->threads));
  const CudaStatus cuda = cuda_status();
  o.Set("cuda", cuda.problem);
  o.Set("cudaVersion", cuda.version);
  o.Set("cudaArchs", HEDDLE_CUDA_ARCHS);
  return o;
}

// The GPUs that the driver shows, usable or not.
Napi::Value devices(const Call& c) {
  const CudaStatus status = cuda_status();
  auto list = Napi::Array::New(c.env(), status.cards.size());
  for (uint32_t i = 0; i < status.cards.size(); ++i) {
    const CardInfo& card = status.cards[i];
    auto o = Napi::Object::New(c.env());
    o.Set("name", "cuda:" + std::to_string(i));
    o.Set("card", card.name);
    o.Set("capability", card.capability);
    o.Set("memory", static_cast<double>(card.memory));
    o.Set("free", static_cast<double>(card.free));
    o.Set("multiprocessors", card.multiprocessors);
    o.Set("problem", card.problem);
    o.Set("simulated", card.simulated);
    list.Set(i, o);
  }
  return list;
}

Napi::Value computes_half(const Call& c) { return Napi::Boolean::New(c.env(), c.get<Device*>(0, "device")->computes_half); }

Napi::Value start_launch_log(const Call&) {
  heddle::start_launch_log();
  return {};
}

Napi::Value take_launch_log(const Call& c) {
  const std::vector<LaunchRecord> records = heddle::take_launch_log();
  auto list = Napi::Array::New(c.env(), records.size());
  for (uint32_t i = 0; i < records.size(); ++i) {
    const LaunchRecord& r = records[i];
    auto o = Napi::Object::New(c.env());
    auto grid = Napi::Array::New(c.env(), 3);
    for (uint32_t d = 0; d < 3; ++d) grid.Set(d, r.grid[d]);
    o.Set("kernel", r.kernel);
    o.Set("grid", grid);
    o.Set("threads", r.threads);
    o.Set("shared", static_cast<double>(r.shared));
    list.Set(i, o);
  }
  return list;
}

Napi::Value signatures(const Call& c) { return Napi::String::New(c.env(), op_signatures()); }

using Function = Napi::Value (*)(const Call&);
struct Named {
  const char* name;
  Function fn;
};
constexpr Named kFunctions[] = {
    {"dispose", dispose},
    {"hold", hold},
    {"save", save},
    {"shape", shape},
    {"strides", strides},
    {"dtype", dtype},
    {"device", device},
    {"write", write},
    {"read", read},
    {"readFile", read_file},
    {"readSync", read_sync},
    {"synchronize", synchronize},
    {"synchronizeSync", synchronize_sync},
    {"beginCapture", begin_capture},
    {"endCapture", end_capture},
    {"dropCapture", drop_capture},
    {"replay", replay},
    {"releaseGraph", release_graph},
    {"graphState", graph_state},
    {"memory", memory},
    {"holders", holders},
    {"holdersAtPeak", holders_at_peak},
    {"setMemoryLimit", set_memory_limit},
    {"resetPeak", reset_peak},
    {"releaseCache", release_cache},
    {"setGuarded", set_guarded},
    {"failAt", fail_at},
    {"setThreads", set_threads},
    {"timeOps", time_ops},
    {"takeOpTimes", take_op_times},
    {"setHollow", set_hollow},
    {"probe", probe},
    {"fmaBurst", fma_burst},
    {"memoryBurst", memory_burst},
    {"info", info},
    {"devices", devices},
    {"computesHalf", computes_half},
    {"startLaunchLog", start_launch_log},
    {"takeLaunchLog", take_launch_log},
    {"signatures", signatures},
    {"mark", mark},
    {"rollback", rollback},
};

Napi::Value call(const Napi::CallbackInfo& info) {
  const Named& f = *static_cast<const Named*>(info.Data());
  const auto run = [&]() -> napi_value { return f.fn(Call{info, Instance::of(info.Env())}); };
  return {info.Env(), bind::guarded(info.Env(), f.name, run)};
}

// Before anything else: all of heddle is compiled for x86-64-v2, and must not end in an illegal instruction.
bool processor_suffices() {
#if defined(__x86_64__)
  return __builtin_cpu_supports("sse4.2") && __builtin_cpu_supports("popcnt");
#else
  return true;
#endif
}

Napi::Object init(Napi::Env env, Napi::Object exports) {
  if (!processor_suffices()) {
    napi_throw_error(env, "ERR_HEDDLE_DEVICE", "heddle needs a processor with SSE4.2 and POPCNT (x86-64-v2), this one lacks them");
    return exports;
  }
  bind::guarded(env, "heddle", [&]() -> napi_value {
    bind::check(napi_set_instance_data(env, new Instance(env), nullptr, nullptr));
    // Hooks run last in, first out: the workers are joined before Node closes the function that they call.
    env.AddCleanupHook([raw = static_cast<napi_env>(env)] {
      Instance* instance = &Instance::of(raw);
      napi_set_instance_data(raw, nullptr, nullptr, nullptr);
      delete instance;
    });
    install_ops(env, exports);
    for (const Named& f : kFunctions) exports.Set(f.name, Napi::Function::New(env, call, f.name, const_cast<Named*>(&f)));
    return nullptr;
  });
  return exports;
}

NODE_API_MODULE(heddle, init)

}  // namespace
}  // namespace heddle
