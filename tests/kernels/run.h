// A call of one variant of the kernels, all its memory under watch.
#pragma once
#include "mapped.h"

namespace check {

enum class Mode {
  kTraining,   // forward and backward
  kInference,  // forward alone
  kPacked,     // the same, with weights that were packed before
  kWide,       // the same, with y and the states in float, if the type is another
  kStream,     // the same, with c in float alone, and new states in place of the old
  kInt8,       // as kPacked, of weights in 8 bits
};

class Run {
 public:
  Run(const fastlstm::Kernels& kernels, const Problem& problem, Mode mode, int threads);

  const Results<Buffer>& results() const { return out_; }
  // The name of a buffer beside which something was written, or null.
  const char* overrun() const { return overrun_; }

 private:
  void forward(Mode mode);
  void backward();
  template <class Args>
  void call(void (*kernel)(const Args*, int64_t, void*), size_t (*bytes)(const Args*, int64_t),
            const Args& args);
  void inspect();

  const fastlstm::Kernels& kernels_;
  const Problem& problem_;
  Shape shape_;
  Inputs<Buffer> in_;
  Results<Buffer> out_;
  Mapped x_, y_, dy_, dx_;
  Buffer gates_;  // [N, D, 4H']
  Buffer c_;      // [N, D, H']
  Buffer packed_[kMaxDirections];
  const char* overrun_ = nullptr;
};

}  // namespace check
