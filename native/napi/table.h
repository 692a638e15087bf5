#pragma once
#include <node_api.h>

#include <string>

namespace heddle {

void install_ops(napi_env env, napi_value exports);
std::string op_signatures();  // the body of the interface in lib/native/ops.d.ts

}  // namespace heddle
