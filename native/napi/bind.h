#pragma once
// Turns a C++ function into a JavaScript function, and its signature into TypeScript. One codec per type; one Op per function.
#include <node_api.h>

#include <array>
#include <cmath>
#include <cstdio>
#include <new>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include "napi/instance.h"
#include "ops/names.h"

namespace heddle::bind {

// An exception is on its way through JavaScript already, or somebody is ending this thread: nothing can be made any more, and what a
// call was to give is not there.
struct Ending {};

inline void check(napi_status s) {
  if (s == napi_pending_exception || s == napi_cannot_run_js) throw Ending();
  if (s != napi_ok) throw OpError("a Node-API call failed with status " + std::to_string(s), ErrorCode::internal);
}

inline napi_value string_of(napi_env env, const std::string& s) {
  napi_value v;
  check(napi_create_string_utf8(env, s.data(), s.size(), &v));
  return v;
}

inline napi_value make_error(napi_env env, ErrorCode code, const std::string& message) {
  napi_value error;
  check(napi_create_error(env, string_of(env, name_of(code)), string_of(env, message), &error));
  return error;
}

// What came instead, for "must be ..., got ...".
inline std::string kind_of(napi_env env, napi_value v) {
  napi_valuetype t = napi_undefined;
  check(napi_typeof(env, v, &t));
  if (t == napi_number) {
    double d;
    check(napi_get_value_double(env, v, &d));
    char text[32];
    std::snprintf(text, sizeof text, "%.17g", d);
    return text;
  }
  static constexpr const char* names[] = {"undefined", "null",      "a boolean",  "a number",    "a string",
                                          "a symbol",  "an object", "a function", "an external", "a bigint"};
  return names[t];
}

[[noreturn]] inline void wrong_argument(const char* argument, const std::string& expected, const std::string& got) {
  throw OpError(std::string(current_op) + ": " + argument + " must be " + expected + ", got " + got);
}

// An argument being decoded: for its name in messages and the instance that handles belong to.
struct Arg {
  napi_env env;
  Instance& instance;
  napi_value value;
  const char* name;
};

template <class T>
struct Codec;

template <>
struct Codec<double> {
  static std::string ts() { return "number"; }
  static double in(const Arg& a) {
    double d;
    if (napi_get_value_double(a.env, a.value, &d) != napi_ok) wrong_argument(a.name, "a number", kind_of(a.env, a.value));
    return d;
  }
  static napi_value out(napi_env env, Instance&, double d) {
    napi_value v;
    check(napi_create_double(env, d, &v));
    return v;
  }
};

template <>
struct Codec<int64_t> {
  static std::string ts() { return "number"; }
  static int64_t in(const Arg& a) {
    double d;
    if (napi_get_value_double(a.env, a.value, &d) != napi_ok || d != std::floor(d) || std::fabs(d) > 9007199254740991.0)
      wrong_argument(a.name, "an integer", kind_of(a.env, a.value));
    return static_cast<int64_t>(d);
  }
};

template <>
struct Codec<bool> {
  static std::string ts() { return "boolean"; }
  static bool in(const Arg& a) {
    bool b;
    if (napi_get_value_bool(a.env, a.value, &b) != napi_ok) wrong_argument(a.name, "a boolean", kind_of(a.env, a.value));
    return b;
  }
};

template <>
struct Codec<std::string> {
  static std::string ts() { return "string"; }
  static std::string in(const Arg& a) {
    size_t n = 0;
    if (napi_get_value_string_utf8(a.env, a.value, nullptr, 0, &n) != napi_ok) wrong_argument(a.name, "a string", kind_of(a.env, a.value));
    std::string s(n, '\0');
    check(napi_get_value_string_utf8(a.env, a.value, s.data(), n + 1, &n));
    return s;
  }
  static napi_value out(napi_env env, Instance&, const std::string& s) { return string_of(env, s); }
};

// Enums travel as the strings of ops/names.h.
template <class E>
struct EnumCodec {
  static std::string ts() {
    std::string s;
    for (const char* n : EnumNames<E>::names) s += (s.empty() ? "'" : " | '") + std::string(n) + "'";
    return s;
  }
  static E in(const Arg& a) {
    char text[32];
    size_t n = 0;
    if (napi_get_value_string_utf8(a.env, a.value, text, sizeof text, &n) != napi_ok) wrong_argument(a.name, ts(), kind_of(a.env, a.value));
    int i = 0;
    for (const char* name : EnumNames<E>::names) {
      if (std::string_view(text, n) == name) return static_cast<E>(i);
      ++i;
    }
    wrong_argument(a.name, ts(), "'" + std::string(text, n) + "'");
  }
  static napi_value out(napi_env env, Instance&, E e) { return string_of(env, EnumNames<E>::names[static_cast<int>(e)]); }
};

template <>
struct Codec<Shape> {
  static std::string ts() { return "readonly number[]"; }
  static Shape in(const Arg& a) {
    uint32_t n = 0;
    bool array = false;
    if (napi_is_array(a.env, a.value, &array) != napi_ok || !array) wrong_argument(a.name, "an array of integers", kind_of(a.env, a.value));
    check(napi_get_array_length(a.env, a.value, &n));
    Shape shape(n);
    for (uint32_t i = 0; i < n; ++i) {
      napi_value item;
      check(napi_get_element(a.env, a.value, i, &item));
      shape[i] = Codec<int64_t>::in({a.env, a.instance, item, a.name});
    }
    return shape;
  }
  static napi_value out(napi_env env, Instance& instance, const Shape& shape) {
    napi_value array;
    check(napi_create_array_with_length(env, shape.size(), &array));
    for (uint32_t i = 0; i < shape.size(); ++i)
      check(napi_set_element(env, array, i, Codec<double>::out(env, instance, static_cast<double>(shape[i]))));
    return array;
  }
};

template <>
struct Codec<Device*> {
  static std::string ts() { return "string"; }
  static Device* in(const Arg& a) { return a.instance.device(Codec<std::string>::in(a)); }
};

template <>
struct Codec<Tensor> {
  static std::string ts() { return "Handle"; }
  static const Tensor& in(const Arg& a) {
    double handle;
    if (napi_get_value_double(a.env, a.value, &handle) != napi_ok) wrong_argument(a.name, "a tensor", kind_of(a.env, a.value));
    const Tensor* t = a.instance.handles().find(handle);
    if (!t)
      throw OpError(std::string(current_op) + ": " + a.name + " is a tensor that was disposed, or one of another thread",
                    ErrorCode::disposed);
    return *t;
  }
  static napi_value out(napi_env env, Instance& instance, Tensor t) {
    return Codec<double>::out(env, instance, instance.handles().add(std::move(t)));
  }
};

template <>
struct Codec<const Tensor*> {
  static std::string ts() { return "Handle | null"; }
  static const Tensor* in(const Arg& a) {
    napi_valuetype t;
    check(napi_typeof(a.env, a.value, &t));
    return t == napi_null ? nullptr : &Codec<Tensor>::in(a);
  }
};

template <>
struct Codec<std::optional<Tensor>> {
  static std::string ts() { return "Handle | null"; }
  static napi_value out(napi_env env, Instance& instance, std::optional<Tensor> t) {
    napi_value none;
    check(napi_get_null(env, &none));
    return t ? Codec<Tensor>::out(env, instance, *std::move(t)) : none;
  }
};

template <>
struct Codec<std::vector<Tensor>> {
  static std::string ts() { return "readonly Handle[]"; }
  static std::vector<Tensor> in(const Arg& a) {
    uint32_t n = 0;
    if (napi_get_array_length(a.env, a.value, &n) != napi_ok) wrong_argument(a.name, "an array of tensors", kind_of(a.env, a.value));
    std::vector<Tensor> tensors;
    for (uint32_t i = 0; i < n; ++i) {
      napi_value item;
      check(napi_get_element(a.env, a.value, i, &item));
      tensors.push_back(Codec<Tensor>::in({a.env, a.instance, item, a.name}));
    }
    return tensors;
  }
};

template <class T>
using Bare = std::remove_const_t<std::remove_reference_t<T>>;

template <class T>
using CodecFor = std::conditional_t<std::is_enum_v<T>, EnumCodec<T>, Codec<T>>;

template <class R>
struct Result {
  static std::string ts() { return CodecFor<R>::ts(); }
  static napi_value out(napi_env env, Instance& i, R r) { return CodecFor<R>::out(env, i, std::move(r)); }
};
template <>
struct Result<void> {
  static std::string ts() { return "void"; }
};
template <class... Rs>
struct Result<std::tuple<Rs...>> {
  static std::string ts() {
    std::string s;
    ((s += (s.empty() ? "" : ", ") + CodecFor<Rs>::ts()), ...);
    return "[" + s + "]";
  }
  static napi_value out(napi_env env, Instance& instance, std::tuple<Rs...> r) {
    napi_value array;
    check(napi_create_array_with_length(env, sizeof...(Rs), &array));
    uint32_t i = 0;
    std::apply(
        [&](auto&&... x) {
          (check(napi_set_element(env, array, i++, CodecFor<Bare<decltype(x)>>::out(env, instance, std::move(x)))), ...);
        },
        r);
    return array;
  }
};

// Runs f; an exception becomes a JavaScript error with the caller's stack.
template <class F>
napi_value guarded(napi_env env, const char* name, F&& f) {
  const char* before = std::exchange(current_op, name);
  napi_value result = nullptr;
  try {
    result = f();
  } catch (const Ending&) {
  } catch (const OpError& e) {
    napi_throw(env, make_error(env, e.code, e.what()));
  } catch (const std::bad_alloc&) {
    napi_throw(env, make_error(env, ErrorCode::out_of_memory, std::string(name) + ": out of memory: the system gives no more"));
  } catch (const std::exception& e) {
    napi_throw(env, make_error(env, ErrorCode::internal, std::string(name) + ": " + e.what()));
  }
  current_op = before;
  return result;
}

template <class R, class... As>
class Op {
 public:
  using Names = std::array<const char*, sizeof...(As)>;
  Op(const char* name, R (*fn)(As...), Names names) : name_(name), fn_(fn), names_(names) {}

  std::string signature() const { return signature_of(std::index_sequence_for<As...>{}); }

  void install(napi_env env, napi_value exports) const {
    napi_value f;
    check(napi_create_function(env, name_, NAPI_AUTO_LENGTH, &call, const_cast<Op*>(this), &f));
    check(napi_set_named_property(env, exports, name_, f));
  }

 private:
  template <size_t... I>
  std::string signature_of(std::index_sequence<I...>) const {
    std::string s;
    ((s += (s.empty() ? "" : ", ") + std::string(names_[I]) + ": " + CodecFor<Bare<As>>::ts()), ...);
    return "  " + std::string(name_) + "(" + s + "): " + Result<R>::ts() + ";\n";
  }

  template <size_t... I>
  napi_value run(napi_env env, napi_value* v, std::index_sequence<I...>) const {
    Instance& instance = Instance::of(env);
    // In braces: decoded from left to right, so that the first wrong argument is the one that is named.
    std::tuple<decltype(CodecFor<Bare<As>>::in(std::declval<Arg>()))...> args{
        CodecFor<Bare<As>>::in(Arg{env, instance, v[I], names_[I]})...};
    if constexpr (std::is_void_v<R>) {
      std::apply(fn_, std::move(args));
      return nullptr;
    } else {
      return Result<R>::out(env, instance, std::apply(fn_, std::move(args)));
    }
  }

  static napi_value call(napi_env env, napi_callback_info info) {
    size_t n = sizeof...(As);
    napi_value v[sizeof...(As) + 1];
    void* self;
    napi_get_cb_info(env, info, &n, v, nullptr, &self);
    const Op& op = *static_cast<Op*>(self);
    return guarded(env, op.name_, [&] { return op.run(env, v, std::index_sequence_for<As...>{}); });
  }

  const char* name_;
  R (*fn_)(As...);
  Names names_;
};

}  // namespace heddle::bind
