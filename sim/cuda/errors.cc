// Names and texts of the error codes.
#include "sim/cuda/runtime.h"

namespace {

struct Entry {
  cudaError_t code;
  const char *name, *text;
};
#define CODE(name, text) {name, #name, text}
constexpr Entry kErrors[] = {
    CODE(cudaSuccess, "no error"),
    CODE(cudaErrorInvalidValue, "invalid argument"),
    CODE(cudaErrorMemoryAllocation, "out of memory"),
    CODE(cudaErrorInitializationError, "initialization error"),
    CODE(cudaErrorCudartUnloading, "driver shutting down"),
    CODE(cudaErrorInvalidConfiguration, "invalid configuration argument"),
    CODE(cudaErrorInvalidPitchValue, "invalid pitch argument"),
    CODE(cudaErrorInvalidSymbol, "invalid device symbol"),
    CODE(cudaErrorInvalidMemcpyDirection, "invalid copy direction for memcpy"),
    CODE(cudaErrorInsufficientDriver, "CUDA driver version is insufficient for CUDA runtime version"),
    CODE(cudaErrorMissingConfiguration, "__global__ function call is not configured"),
    CODE(cudaErrorInvalidDeviceFunction, "invalid device function"),
    CODE(cudaErrorNoDevice, "no CUDA-capable device is detected"),
    CODE(cudaErrorInvalidDevice, "invalid device ordinal"),
    CODE(cudaErrorInvalidKernelImage, "device kernel image is invalid"),
    CODE(cudaErrorDeviceUninitialized, "invalid device context"),
    CODE(cudaErrorNoKernelImageForDevice, "no kernel image is available for execution on the device"),
    CODE(cudaErrorInvalidPtx, "a PTX JIT compilation failed"),
    CODE(cudaErrorUnsupportedPtxVersion, "the provided PTX was compiled with an unsupported toolchain."),
    CODE(cudaErrorInvalidSource, "device kernel image is invalid"),
    CODE(cudaErrorFileNotFound, "file not found"),
    CODE(cudaErrorInvalidResourceHandle, "invalid resource handle"),
    CODE(cudaErrorIllegalState, "the operation cannot be performed in the present state"),
    CODE(cudaErrorSymbolNotFound, "named symbol not found"),
    CODE(cudaErrorNotReady, "device not ready"),
    CODE(cudaErrorIllegalAddress, "an illegal memory access was encountered"),
    CODE(cudaErrorLaunchOutOfResources, "too many resources requested for launch"),
    CODE(cudaErrorLaunchTimeout, "the launch timed out and was terminated"),
    CODE(cudaErrorPeerAccessAlreadyEnabled, "peer access is already enabled"),
    CODE(cudaErrorPeerAccessNotEnabled, "peer access has not been enabled"),
    CODE(cudaErrorSetOnActiveProcess, "cannot set while device is active in this process"),
    CODE(cudaErrorContextIsDestroyed, "context is destroyed"),
    CODE(cudaErrorAssert, "device-side assert triggered"),
    CODE(cudaErrorTooManyPeers, "peer mapping resources exhausted"),
    CODE(cudaErrorHostMemoryAlreadyRegistered, "part or all of the requested memory range is already mapped"),
    CODE(cudaErrorHostMemoryNotRegistered, "pointer does not correspond to a registered memory region"),
    CODE(cudaErrorIllegalInstruction, "an illegal instruction was encountered"),
    CODE(cudaErrorMisalignedAddress, "misaligned address"),
    CODE(cudaErrorInvalidAddressSpace, "operation not supported on global/shared address space"),
    CODE(cudaErrorInvalidPc, "invalid program counter"),
    CODE(cudaErrorLaunchFailure, "unspecified launch failure"),
    CODE(cudaErrorCooperativeLaunchTooLarge, "too many blocks in cooperative launch"),
    CODE(cudaErrorNotPermitted, "operation not permitted"),
    CODE(cudaErrorNotSupported, "operation not supported"),
    CODE(cudaErrorStreamCaptureUnsupported, "operation not permitted when stream is capturing"),
    CODE(cudaErrorStreamCaptureInvalidated, "operation failed due to a previous error during capture"),
    CODE(cudaErrorStreamCaptureMerge, "operation would result in a merge of separate capture sequences"),
    CODE(cudaErrorStreamCaptureUnmatched, "capture was not initiated in this stream"),
    CODE(cudaErrorStreamCaptureUnjoined, "capturing stream has unjoined work"),
    CODE(cudaErrorStreamCaptureIsolation, "dependency created on uncaptured work in another stream"),
    CODE(cudaErrorStreamCaptureImplicit, "operation would make the legacy stream depend on a capturing blocking stream"),
    CODE(cudaErrorStreamCaptureWrongThread, "attempt to terminate a thread-local capture sequence from another thread"),
    CODE(cudaErrorCapturedEvent, "operation not permitted on an event last recorded in a capturing stream"),
    CODE(cudaErrorTimeout, "wait operation timed out"),
    CODE(cudaErrorGraphExecUpdateFailure,
         "the graph update was not performed because it included changes which violated constraints "
         "specific to instantiated graph update"),
    CODE(cudaErrorInvalidClusterSize, "misconfigured cluster attributes"),
    CODE(cudaErrorUnknown, "unknown error"),
};
#undef CODE

const Entry* find(cudaError_t code) {
  for (const Entry& e : kErrors)
    if (e.code == code) return &e;
  return nullptr;
}

}  // namespace

SIM_API const char* cudaGetErrorString(cudaError_t code) {
  const Entry* e = find(code);
  return e ? e->text : "unrecognized error code";
}
SIM_API const char* cudaGetErrorName(cudaError_t code) {
  const Entry* e = find(code);
  return e ? e->name : "unrecognized error code";
}
