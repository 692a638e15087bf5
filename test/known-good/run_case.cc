// Runs kernels from PTX files through the CUDA driver API and compares their outputs: on a real libcuda.so.1 or on a library that
// exports the same symbols. README.md describes the cases.
//
//   run_case [--driver LIB] [--plain] [--no-fork] [--timeout SECONDS] CASE.json...
//
// Each case runs in a child process, so that a crash or a hang ends one case only, with its buffers between guard zones that show writes
// out of bounds. Prints one line per case; the exit status is 0 when none failed.  --plain: cuLaunchKernel, without launch attributes.
#include <cuda.h>
#include <dlfcn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <map>
#include <memory>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

using std::string;
struct Failure : std::runtime_error {
  using runtime_error::runtime_error;
};
struct Skip : std::runtime_error {
  using runtime_error::runtime_error;
};

// ---- JSON ----

struct Json {
  enum Kind { null, boolean, number, text, array, object } kind = null;
  double num = 0;
  string str;
  std::vector<Json> items;
  std::map<string, Json> fields;

  const Json& at(const string& key) const {
    auto it = fields.find(key);
    if (it == fields.end()) throw Failure("JSON: no field " + key);
    return it->second;
  }
  bool has(const string& key) const {
    auto it = fields.find(key);
    return it != fields.end() && it->second.kind != null;
  }
  long long integer() const { return (long long)num; }
  const Json& operator[](size_t i) const { return items.at(i); }
};

struct JsonReader {
  const char* p;
  const char* end;
  void space() {
    while (p < end && strchr(" \t\r\n", *p)) ++p;
  }
  char peek() {
    space();
    if (p >= end) throw Failure("JSON: ends early");
    return *p;
  }
  void expect(char c) {
    if (peek() != c) throw Failure(string("JSON: expected ") + c);
    ++p;
  }
  string quoted() {
    string s;
    for (expect('"'); p < end && *p != '"'; ++p) {
      if (*p != '\\') {
        s += *p;
        continue;
      }
      switch (*++p) {
        case 'n':
          s += '\n';
          break;
        case 't':
          s += '\t';
          break;
        case 'u':
          s += '?';
          p += 4;
          break;
        default:
          s += *p;
      }
    }
    ++p;
    return s;
  }
  Json value() {
    Json v;
    char c = peek();
    if (c == '{') {
      v.kind = Json::object;
      for (++p; peek() != '}';) {
        string key = quoted();
        expect(':');
        v.fields[key] = value();
        if (peek() == ',') ++p;
      }
      ++p;
    } else if (c == '[') {
      v.kind = Json::array;
      for (++p; peek() != ']';) {
        v.items.push_back(value());
        if (peek() == ',') ++p;
      }
      ++p;
    } else if (c == '"') {
      v.kind = Json::text;
      v.str = quoted();
    } else if (!strncmp(p, "true", 4)) {
      v.kind = Json::boolean;
      v.num = 1;
      p += 4;
    } else if (!strncmp(p, "false", 5)) {
      v.kind = Json::boolean;
      p += 5;
    } else if (!strncmp(p, "null", 4)) {
      p += 4;
    } else {
      char* stop;
      v.kind = Json::number;
      v.num = strtod(p, &stop);
      if (stop == p) throw Failure("JSON: bad value");
      p = stop;
    }
    return v;
  }
};

Json parse(const string& s) {
  JsonReader r{s.data(), s.data() + s.size()};
  return r.value();
}

string read_file(const string& path) {
  std::ifstream f(path, std::ios::binary);
  if (!f) throw Failure("cannot open " + path);
  std::ostringstream o;
  o << f.rdbuf();
  return o.str();
}

struct Tensors {  // a safetensors file
  string file;
  Json header;
  explicit Tensors(const string& path) : file(read_file(path)) {
    uint64_t n;
    memcpy(&n, file.data(), 8);
    header = parse(file.substr(8, n));
    start = 8 + n;
  }
  string bytes(const string& name) const {
    const Json& o = header.at(name).at("data_offsets");
    return file.substr(start + o[0].integer(), o[1].integer() - o[0].integer());
  }
  size_t start;
};

// ---- element types ----

double small_float(unsigned bits, int exp_bits, int man_bits, bool finite_only) {  // sign, exponent, mantissa, IEEE-like
  int sign = bits >> (exp_bits + man_bits) & 1, e = bits >> man_bits & ((1 << exp_bits) - 1), m = bits & ((1 << man_bits) - 1);
  int bias = (1 << (exp_bits - 1)) - 1, top = (1 << exp_bits) - 1;
  double v;
  if (e == top && !finite_only)
    v = m ? NAN : INFINITY;
  else if (e == top && finite_only && m == (1 << man_bits) - 1)
    v = NAN;
  else
    v = e ? std::ldexp(1.0 + std::ldexp(m, -man_bits), e - bias) : std::ldexp(m, 1 - bias - man_bits);
  return sign ? -v : v;
}

template <class T>
T load(const char* p) {
  T v;
  memcpy(&v, p, sizeof v);
  return v;
}

struct Type {
  int size;
  double (*get)(const char*);
};
const std::map<string, Type> types = {
    {"f32", {4, [](const char* p) { return (double)load<float>(p); }}},
    {"f64", {8, [](const char* p) { return load<double>(p); }}},
    {"bf16", {2, [](const char* p) { return small_float(load<uint16_t>(p), 8, 7, false); }}},
    {"f16", {2, [](const char* p) { return small_float(load<uint16_t>(p), 5, 10, false); }}},
    {"f8e4m3", {1, [](const char* p) { return small_float(load<uint8_t>(p), 4, 3, true); }}},
    {"f8e5m2", {1, [](const char* p) { return small_float(load<uint8_t>(p), 5, 2, false); }}},
    {"i64", {8, [](const char* p) { return (double)load<int64_t>(p); }}},
    {"i32", {4, [](const char* p) { return (double)load<int32_t>(p); }}},
    {"i16", {2, [](const char* p) { return (double)load<int16_t>(p); }}},
    {"i8", {1, [](const char* p) { return (double)load<int8_t>(p); }}},
    {"u8", {1, [](const char* p) { return (double)load<uint8_t>(p); }}},
};

// ---- driver ----

// clang-format off
#define DRIVER_FUNCTIONS(X) \
  X(cuInit) X(cuDeviceGet) X(cuDeviceGetAttribute) X(cuDevicePrimaryCtxRetain) X(cuCtxSetCurrent) X(cuCtxSynchronize) \
  X(cuModuleLoadDataEx) X(cuModuleGetFunction) X(cuModuleUnload) X(cuFuncSetAttribute) X(cuFuncGetAttribute) X(cuLaunchKernelEx) \
  X(cuLaunchKernel) X(cuMemAlloc_v2) X(cuMemFree_v2) X(cuMemcpyHtoD_v2) X(cuMemcpyDtoH_v2) X(cuMemsetD8_v2) X(cuTensorMapEncodeTiled) \
  X(cuGetErrorName)
// clang-format on

struct Driver {
#define X(f) decltype(&::f) f = nullptr;
  DRIVER_FUNCTIONS(X)
#undef X
  explicit Driver(const string& lib) {
    void* h = dlopen(lib.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (!h) throw Failure(string("cannot load the driver: ") + dlerror());
    string missing;
#define X(f) \
  if (!(f = (decltype(f))dlsym(h, #f))) missing += " " #f;
    DRIVER_FUNCTIONS(X)
#undef X
    if (!missing.empty()) fprintf(stderr, "the driver lacks:%s\n", missing.c_str());
  }
  void check(CUresult r, const char* what, const string& more = "") const {
    if (r == CUDA_SUCCESS) return;
    const char* name = nullptr;
    if (cuGetErrorName) cuGetErrorName(r, &name);
    throw Failure(string(what) + ": " + (name ? name : "error " + std::to_string((int)r)) + (more.empty() ? "" : ": " + more));
  }
};
#define CHECK(call) drv.check(drv.call, #call)

struct Options {
  string driver = "libcuda.so.1";
  bool plain = false, fork = true;
  int timeout = 300;
};

// ---- one case ----

constexpr size_t guard = 512;  // bytes on either side of a buffer; keeps its alignment
constexpr char guard_byte = (char)0xA5;

struct Buffer {
  CUdeviceptr base;
  size_t bytes;
  string before;
  const Json* spec;
};

string unhex(const string& h) {
  string s;
  for (size_t i = 0; i + 1 < h.size(); i += 2) s += (char)strtol(h.substr(i, 2).c_str(), nullptr, 16);
  return s;
}

string place(const Json& shape, size_t flat) {
  string s;
  for (size_t i = shape.items.size(); i--;) {
    size_t n = shape[i].integer();
    s = std::to_string(flat % n) + (s.empty() ? "" : ", " + s);
    flat /= n;
  }
  return "[" + s + "]";
}

// Worst |got - want| / (atol + rtol |want|); throws with the first wrong element when it exceeds 1.
double compare(const Json& spec, const string& got, const string& want) {
  const Type& t = types.at(spec.at("dtype").str);
  double atol = spec.has("atol") ? spec.at("atol").num : 0, rtol = spec.has("rtol") ? spec.at("rtol").num : 0, worst = 0;
  size_t n = got.size() / t.size, wrong = 0, first = 0;
  for (size_t i = 0; i < n; ++i) {
    double g = t.get(&got[i * t.size]), w = t.get(&want[i * t.size]);
    if (g == w || (std::isnan(g) && std::isnan(w))) continue;
    double e = std::fabs(g - w) / (atol + rtol * std::fabs(w));
    if (!(e <= 1)) {
      if (!wrong++) first = i;
    }
    if (!(e <= worst)) worst = std::isnan(e) ? INFINITY : e;
  }
  if (wrong) {
    std::ostringstream o;
    o.precision(9);
    o << spec.at("name").str << place(spec.at("shape"), first) << " is " << t.get(&got[first * t.size]) << ", want "
      << t.get(&want[first * t.size]) << "; " << wrong << " of " << n << " wrong, worst " << worst << " x tolerance";
    throw Failure(o.str());
  }
  return worst;
}

string run(const string& path, const Options& opt) {
  Json c = parse(read_file(path));
  string folder = path.find('/') == string::npos ? "." : path.substr(0, path.rfind('/'));
  Driver drv(opt.driver);
  CHECK(cuInit(0));
  CUdevice dev;
  CHECK(cuDeviceGet(&dev, 0));
  int major = 0, minor = 0;
  CHECK(cuDeviceGetAttribute(&major, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, dev));
  CHECK(cuDeviceGetAttribute(&minor, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR, dev));
  string target = c.at("target").str;
  int need = atoi(target.c_str() + 3), have = major * 10 + minor;
  if (target.back() == 'a' ? have != need : have < need) throw Skip("needs " + target + ", the device is " + std::to_string(have));
  CUcontext ctx;
  CHECK(cuDevicePrimaryCtxRetain(&ctx, dev));
  CHECK(cuCtxSetCurrent(ctx));

  string ptx = read_file(folder + "/" + c.at("ptx").str), log(16384, '\0');
  CUjit_option keys[] = {CU_JIT_ERROR_LOG_BUFFER, CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES};
  void* vals[] = {log.data(), (void*)log.size()};
  CUmodule mod;
  drv.check(drv.cuModuleLoadDataEx(&mod, ptx.c_str(), 2, keys, vals), "cuModuleLoadDataEx", log.c_str());
  CUfunction fn;
  CHECK(cuModuleGetFunction(&fn, mod, c.at("entry").str.c_str()));
  unsigned shared = c.at("shared").integer();
  if (shared > 48 * 1024) CHECK(cuFuncSetAttribute(fn, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, shared));

  Tensors data(folder + "/" + c.at("data").str);
  std::map<string, Buffer> buffers;
  auto make = [&](const string& name, const string& bytes, const Json* spec) {
    string all = string(guard, guard_byte) + bytes + string(guard, guard_byte);
    CUdeviceptr p;
    CHECK(cuMemAlloc_v2(&p, all.size()));
    CHECK(cuMemcpyHtoD_v2(p, all.data(), all.size()));
    buffers[name] = {p, bytes.size(), bytes, spec};
  };
  for (const Json& b : c.at("buffers").items)
    make(b.at("name").str,
         b.has("fill_byte") ? string(b.at("bytes").integer(), (char)b.at("fill_byte").integer()) : data.bytes(b.at("data").str), &b);

  const Json& list = c.at("params");
  struct alignas(128) Slot {
    char bytes[128];
  };
  std::unique_ptr<Slot[]> slots(new Slot[list.items.size()]());
  std::vector<void*> params;
  for (size_t i = 0; i < list.items.size(); ++i) {
    const Json& p = list[i];
    const string& kind = p.at("kind").str;
    char* to = slots[i].bytes;
    if (kind == "pointer") {
      CUdeviceptr v = buffers.at(p.at("buffer").str).base + guard;
      memcpy(to, &v, 8);
    } else if (kind == "scalar") {
      string v = unhex(p.at("bytes").str);
      memcpy(to, v.data(), v.size());
    } else if (kind == "scratch") {
      make("scratch", string(p.at("total").integer(), '\0'), nullptr);
      CUdeviceptr v = buffers.at("scratch").base + guard;
      memcpy(to, &v, 8);
    } else if (kind == "tensormap") {
      cuuint64_t dims[5], strides[5];
      cuuint32_t box[5], step[5];
      int rank = p.at("rank").integer();
      for (int d = 0; d < rank; ++d) {
        dims[d] = p.at("dims")[d].integer();
        box[d] = p.at("box")[d].integer();
        step[d] = p.at("element_strides")[d].integer();
        if (d + 1 < rank) strides[d] = p.at("strides")[d].integer();
      }
      CHECK(cuTensorMapEncodeTiled(
          (CUtensorMap*)to, (CUtensorMapDataType)p.at("data_type").integer(), rank, (void*)(buffers.at(p.at("buffer").str).base + guard),
          dims, strides, box, step, (CUtensorMapInterleave)p.at("interleave").integer(), (CUtensorMapSwizzle)p.at("swizzle").integer(),
          (CUtensorMapL2promotion)p.at("l2_promotion").integer(), (CUtensorMapFloatOOBfill)p.at("oob_fill").integer()));
    } else if (kind != "null") {
      throw Failure("unknown parameter kind " + kind);
    }
    params.push_back(to);
  }

  auto dim = [&](const char* key, int i) { return (unsigned)c.at(key)[i].integer(); };
  auto begin = std::chrono::steady_clock::now();
  if (opt.plain) {
    CHECK(
        cuLaunchKernel(fn, dim("grid", 0), dim("grid", 1), dim("grid", 2), dim("block", 0), 1, 1, shared, nullptr, params.data(), nullptr));
  } else {
    CUlaunchAttribute attrs[2] = {};
    CUlaunchConfig cfg = {};
    cfg.gridDimX = dim("grid", 0), cfg.gridDimY = dim("grid", 1), cfg.gridDimZ = dim("grid", 2);
    cfg.blockDimX = dim("block", 0), cfg.blockDimY = 1, cfg.blockDimZ = 1;
    cfg.sharedMemBytes = shared;
    cfg.attrs = attrs;
    if (dim("cluster", 0) > 1) {
      CUlaunchAttribute& a = attrs[cfg.numAttrs++];
      a.id = CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION;
      a.value.clusterDim.x = dim("cluster", 0), a.value.clusterDim.y = 1, a.value.clusterDim.z = 1;
    }
    if (c.at("cooperative").num) {
      CUlaunchAttribute& a = attrs[cfg.numAttrs++];
      a.id = CU_LAUNCH_ATTRIBUTE_COOPERATIVE;
      a.value.cooperative = 1;
    }
    CHECK(cuLaunchKernelEx(&cfg, fn, params.data(), nullptr));
  }
  CHECK(cuCtxSynchronize());
  double ms = std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin).count(), worst = 0;

  for (auto& [name, b] : buffers) {
    string all(b.bytes + 2 * guard, '\0');
    CHECK(cuMemcpyDtoH_v2(all.data(), b.base, all.size()));
    for (size_t i = 0; i < all.size(); ++i)
      if ((i < guard || i >= guard + b.bytes) && all[i] != guard_byte)
        throw Failure("write out of bounds: byte " + std::to_string((long long)i - (long long)guard) + " of " + name + " (" +
                      std::to_string(b.bytes) + " bytes)");
    string got = all.substr(guard, b.bytes);
    if (b.spec && b.spec->at("check").str == "unchanged" && got != b.before) throw Failure("input " + name + " was changed");
    if (b.spec && b.spec->at("check").str == "expect") worst = std::max(worst, compare(*b.spec, got, data.bytes(b.spec->at("expect").str)));
    CHECK(cuMemFree_v2(b.base));
  }
  CHECK(cuModuleUnload(mod));
  char line[80];
  snprintf(line, sizeof line, "worst %.3f x tolerance, %.0f ms", worst, ms);
  return line;
}

enum { passed = 0, failed = 1, skipped = 2 };

int report(const string& path, const Options& opt) {
  string name = path.substr(path.rfind('/') == string::npos ? 0 : path.rfind('/') + 1);
  name = name.substr(0, name.rfind(".json"));
  int status = passed;
  string text;
  try {
    text = "ok    " + name + "  " + run(path, opt);
  } catch (const Skip& e) {
    text = "skip  " + name + "  " + e.what();
    status = skipped;
  } catch (const std::exception& e) {
    text = "FAIL  " + name + "  " + e.what();
    status = failed;
  }
  puts(text.c_str());
  fflush(stdout);
  return status;
}

}  // namespace

int main(int argc, char** argv) {
  Options opt;
  std::vector<string> paths;
  for (int i = 1; i < argc; ++i) {
    string a = argv[i];
    if (a == "--driver" && i + 1 < argc)
      opt.driver = argv[++i];
    else if (a == "--timeout" && i + 1 < argc)
      opt.timeout = atoi(argv[++i]);
    else if (a == "--plain")
      opt.plain = true;
    else if (a == "--no-fork")
      opt.fork = false;
    else
      paths.push_back(a);
  }
  int count[3] = {};
  for (const string& path : paths) {
    if (!opt.fork) {
      ++count[report(path, opt)];
      continue;
    }
    pid_t pid = fork();
    if (pid == 0) {
      alarm(opt.timeout);
      int r = report(path, opt);
      _exit(r);
    }
    int st;
    waitpid(pid, &st, 0);
    if (WIFSIGNALED(st)) {
      printf("FAIL  %s  %s\n", path.c_str(), WTERMSIG(st) == SIGALRM ? "timed out" : strsignal(WTERMSIG(st)));
      fflush(stdout);
      ++count[failed];
    } else {
      ++count[WEXITSTATUS(st) <= 2 ? WEXITSTATUS(st) : failed];
    }
  }
  printf("%d passed, %d failed, %d skipped\n", count[passed], count[failed], count[skipped]);
  return count[failed] ? 1 : 0;
}
