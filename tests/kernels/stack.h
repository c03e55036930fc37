// A stack of layers, forward and backward, all its results side by side.
#pragma once
#include "mapped.h"

namespace check {

// Layers above the problem's own take its weight_hh for their weight_ih, and all else from it too.
class Stack {
 public:
  static constexpr int64_t kLayers = 3;

  enum class Pass {
    kTraining,   // forward and backward
    kInference,  // forward alone, no y but the last layer's wanted
    kStream,     // the same on packed weights, new states in place of the old; if the type is not
                 // float, x, y and the states are
    kInt8        // the same of weights in 8 bits
  };

  Stack(const fastlstm::Kernels& kernels, const Problem& problem, Pass pass, int threads);

  // Of all layers, in a fixed order.
  const std::vector<Buffer>& results() const { return results_; }
  bool intact() const;

 private:
  struct Layer {
    Buffer gates, c;
  };

  void* result(size_t count, Type type);
  void forward(Pass pass);
  void backward();

  const fastlstm::Kernels& kernels_;
  const Problem& problem_;
  Shape shapes_[kLayers];
  Inputs<Buffer> in_;
  Mapped x_, dy_;
  Layer layers_[kLayers];
  Buffer packed_[kLayers];
  void* y_[kLayers];
  std::vector<Buffer> results_;
  bool intact_ = true;
};

}  // namespace check
