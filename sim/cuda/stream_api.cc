// Streams, events, host functions.
#include <algorithm>
#include <chrono>

#include "sim/cuda/graph.h"
#include "sim/cuda/work.h"

using namespace sim;

SIM_API cudaError_t cudaStreamCreateWithPriority(cudaStream_t* stream, unsigned flags, int priority) {
  return api([&](Session& s) {
    require(stream && flags <= cudaStreamNonBlocking);
    *stream = new_stream(s.device, flags, std::clamp(priority, -5, 0));
  });
}
SIM_API cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned flags) {
  return cudaStreamCreateWithPriority(stream, flags, 0);
}
SIM_API cudaError_t cudaStreamCreate(cudaStream_t* stream) { return cudaStreamCreateWithPriority(stream, cudaStreamDefault, 0); }
SIM_API cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  return api([&](Session& s) {
    CUstream_st& st = stream_of(s, stream);
    require(stream && &st == stream, cudaErrorInvalidResourceHandle);  // not a default stream
    if (st.capture) invalidate(*st.capture);
    delete_stream(&st);
  });
}
SIM_API cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  return api([&](Session& s) {
    CUstream_st& st = stream_of(s, stream);
    if (st.capture) {
      invalidate(*st.capture);
      refuse(cudaErrorStreamCaptureUnsupported);
    }
    if (&st == s.device.legacy)  // also waits for the streams that the legacy stream waits for
      for (CUstream_st* other : std::set<CUstream_st*>(s.device.streams))
        if (other->blocking()) wait_for(s, other->last);
    wait_for(s, st.last);
    raise_sticky(*st.device);
  });
}
SIM_API cudaError_t cudaStreamQuery(cudaStream_t stream) {
  return api([&](Session& s) {
    CUstream_st& st = stream_of(s, stream);
    require(!st.capture, cudaErrorStreamCaptureUnsupported);
    const bool done = finished(s, st.last);
    raise_sticky(*st.device);
    require(done, cudaErrorNotReady);
  });
}
SIM_API cudaError_t cudaStreamGetPriority(cudaStream_t stream, int* priority) {
  return api([&](Session& s) { *priority = stream_of(s, stream).priority; });
}
SIM_API cudaError_t cudaStreamGetFlags(cudaStream_t stream, unsigned* flags) {
  return api([&](Session& s) { *flags = stream_of(s, stream).flags; });
}
SIM_API cudaError_t cudaStreamGetId(cudaStream_t stream, unsigned long long* id) {
  return api([&](Session& s) { *id = stream_of(s, stream).id; });
}
SIM_API cudaError_t cudaStreamGetDevice(cudaStream_t stream, int* device) {
  return api([&](Session& s) { *device = stream_of(s, stream).device->ordinal; });
}
SIM_API cudaError_t cudaStreamCopyAttributes(cudaStream_t to, cudaStream_t from) {
  return api([&](Session& s) { stream_of(s, to).priority = stream_of(s, from).priority; });
}
SIM_API cudaError_t cudaStreamGetAttribute(cudaStream_t stream, cudaStreamAttrID id, cudaStreamAttrValue* value) {
  return api([&](Session& s) {
    *value = {};
    if (id == cudaLaunchAttributePriority) value->priority = stream_of(s, stream).priority;
  });
}
SIM_API cudaError_t cudaStreamSetAttribute(cudaStream_t stream, cudaStreamAttrID id, const cudaStreamAttrValue* value) {
  return api([&](Session& s) {
    if (id == cudaLaunchAttributePriority) stream_of(s, stream).priority = value->priority;
  });
}

// ----------------------------------------------------------------------------------- host functions

SIM_API cudaError_t cudaLaunchHostFunc(cudaStream_t stream, cudaHostFn_t f, void* data) {
  return api([&](Session& s) {
    require(f);
    enqueue(s, stream_of(s, stream), HostTask{[f, data](cudaError_t) { f(data); }, false, f, data});
  });
}
SIM_API cudaError_t cudaStreamAddCallback(cudaStream_t stream, cudaStreamCallback_t f, void* data, unsigned flags) {
  return api([&](Session& s) {
    require(f && flags == 0);
    CUstream_st& st = stream_of(s, stream);
    require(!st.capture, cudaErrorStreamCaptureUnsupported);
    enqueue(s, st, HostTask{[=](cudaError_t status) { f(stream, status, data); }, true, nullptr, nullptr});
  });
}

// ------------------------------------------------------------------------------------------- events

SIM_API cudaError_t cudaEventCreateWithFlags(cudaEvent_t* e, unsigned flags) {
  return api([&](Session& s) {
    require(e && flags <= (cudaEventBlockingSync | cudaEventDisableTiming | cudaEventInterprocess));
    *e = new_event(s.device, flags);
  });
}
#undef cudaEventCreate
SIM_API cudaError_t cudaEventCreate(cudaEvent_t* e) { return cudaEventCreateWithFlags(e, cudaEventDefault); }
SIM_API cudaError_t cudaEventDestroy(cudaEvent_t e) {
  return api([&](Session&) { delete_event(&event_of(e)); });
}
SIM_API cudaError_t cudaEventRecordWithFlags(cudaEvent_t handle, cudaStream_t stream, unsigned flags) {
  return api([&](Session& s) {
    CUevent_st& e = event_of(handle);
    CUstream_st& st = stream_of(s, stream);
    require(e.device == st.device, cudaErrorInvalidResourceHandle);
    if (!st.capture) {
      e.capture.reset();
      e.nodes.clear();
      e.work = enqueue(s, st, RecordTask{handle});
    } else if (flags & cudaEventRecordExternal) {
      capture_task(st, RecordTask{handle});
    } else {
      require(!st.capture->invalid, cudaErrorStreamCaptureInvalidated);
      e.capture = st.capture;
      e.nodes = st.nodes;
    }
  });
}
SIM_API cudaError_t cudaEventRecord(cudaEvent_t e, cudaStream_t stream) {
  return cudaEventRecordWithFlags(e, stream, cudaEventRecordDefault);
}

SIM_API cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t handle, unsigned flags) {
  return api([&](Session& s) {
    CUevent_st& e = event_of(handle);
    CUstream_st& st = stream_of(s, stream);
    if (st.capture && flags & cudaEventWaitExternal) return capture_task(st, WaitTask{handle});
    if (e.capture) return join_capture(st, e);
    require(!st.capture, cudaErrorStreamCaptureIsolation);
    if (e.work && e.work->state != Work::Done) enqueue(s, st, EmptyTask{}, {e.work});
  });
}
SIM_API cudaError_t cudaEventSynchronize(cudaEvent_t handle) {
  return api([&](Session& s) {
    CUevent_st& e = event_of(handle);
    require(!e.capture, cudaErrorCapturedEvent);
    wait_for(s, WorkRef(e.work));
    raise_sticky(s.device);
  });
}
SIM_API cudaError_t cudaEventQuery(cudaEvent_t handle) {
  return api([&](Session& s) {
    CUevent_st& e = event_of(handle);
    require(!e.capture, cudaErrorCapturedEvent);
    const bool done = finished(s, WorkRef(e.work));
    raise_sticky(s.device);
    require(done, cudaErrorNotReady);
  });
}
SIM_API cudaError_t cudaEventElapsedTime(float* ms, cudaEvent_t start, cudaEvent_t end) {
  return api([&](Session& s) {
    CUevent_st &a = event_of(start), &b = event_of(end);
    require(a.work && b.work && !((a.flags | b.flags) & cudaEventDisableTiming), cudaErrorInvalidResourceHandle);
    const bool done = finished(s, WorkRef(a.work)) && finished(s, WorkRef(b.work));
    require(done, cudaErrorNotReady);
    *ms = std::chrono::duration<float, std::milli>(b.work->time - a.work->time).count();
  });
}
