#pragma once
// The enums of backend.h as JavaScript spells them, in their order.
#include "ops/backend.h"

namespace heddle {

template <class E>
struct EnumNames;

template <>
struct EnumNames<DType> {
  static constexpr const char* names[] = {"f32", "bf16", "f16", "i32", "u8", "bool"};
};
template <>
struct EnumNames<Distribution> {
  static constexpr const char* names[] = {"uniform", "normal"};
};
template <>
struct EnumNames<Unary> {
  static constexpr const char* names[] = {"neg", "abs", "sign", "square",  "sqrt", "rsqrt", "reciprocal", "exp",      "log",
                                          "sin", "cos", "tanh", "sigmoid", "relu", "relu2", "silu",       "geluTanh", "geluErf"};
};
template <>
struct EnumNames<Binary> {
  static constexpr const char* names[] = {"add", "sub", "mul", "div", "maximum", "minimum", "pow", "eq", "ne", "lt", "le", "gt", "ge"};
};
template <>
struct EnumNames<Reduce> {
  static constexpr const char* names[] = {"sum", "mean", "max", "min", "argmax", "argmin"};
};
template <>
struct EnumNames<Activation> {
  static constexpr const char* names[] = {"none", "geluTanh", "geluErf", "relu", "relu2", "silu"};
};
template <>
struct EnumNames<Precision> {
  static constexpr const char* names[] = {"full", "tf32", "bf16", "fp8"};
};
template <>
struct EnumNames<FP8> {
  static constexpr const char* names[] = {"e4m3", "e5m2"};
};
template <>
struct EnumNames<Optimizer> {
  static constexpr const char* names[] = {"adamw", "adam", "sgd", "lion"};
};

template <class E>
constexpr const char* text_of(E e) {
  return EnumNames<E>::names[static_cast<int>(e)];
}

}  // namespace heddle
