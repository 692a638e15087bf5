#pragma once
// Tasks of a stream that were noted instead of run, to be run as one task as often as wanted: nothing of what enqueued them runs again.
#include <cstddef>
#include <memory>
#include <new>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace heddle {

// What a device made of a recording, so that it need not run task by task: a CUDA graph.
struct Captured {
  virtual ~Captured() = default;
  virtual void launch() = 0;  // on the worker; may throw OpError
};

class Recording {
 public:
  explicit Recording(std::string its_name) : name(std::move(its_name)) {}

  struct Task {
    const char* op;
    void (*run)(void*);
    size_t at;  // of its payload
  };

  template <class F>
  void add(const char* op, const F& f) {
    static_assert(std::is_trivially_copyable_v<F> && alignof(F) <= kAlign, "tasks are plain data");
    const size_t at = (payloads_.size() + kAlign - 1) / kAlign * kAlign;
    payloads_.resize(at + sizeof(F));
    new (payloads_.data() + at) F(f);
    tasks_.push_back({op, [](void* p) { (*std::launder(static_cast<F*>(p)))(); }, at});
  }

  const std::vector<Task>& tasks() const { return tasks_; }
  void* payload(const Task& t) { return payloads_.data() + t.at; }

  const std::string name;  // for errors that cannot tell which task it was

  // These three on the worker only, which fills them in at the first replay.
  bool tried = false;                  // whether the device was asked to capture it
  std::unique_ptr<Captured> captured;  // null: its tasks run one by one
  std::string problem;                 // why the device could not capture it

 private:
  static constexpr size_t kAlign = 16;  // what operator new gives
  std::vector<Task> tasks_;
  std::vector<unsigned char> payloads_;
};

}  // namespace heddle
