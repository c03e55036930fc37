// A stack of layers, forward and backward, all its results side by side.
#pragma once
#include "buffer.h"

namespace check {

// Layers above the problem's own take its weight_hh for their weight_ih, and all else from it too.
class Stack {
 public:
  static constexpr int64_t kLayers = 3;

  Stack(const fastlstm::Kernels& kernels, const Problem& problem, int threads);

  // Of all layers, in a fixed order.
  const std::vector<Buffer>& results() const { return results_; }
  bool intact() const;

 private:
  struct Layer {
    Buffer gates, c;
  };

  void* result(size_t count);
  void forward();
  void backward();

  const fastlstm::Kernels& kernels_;
  const Problem& problem_;
  Shape shapes_[kLayers];
  Inputs<Buffer> in_;
  Layer layers_[kLayers];
  void* y_[kLayers];
  std::vector<Buffer> results_;
  bool intact_ = true;
};

}  // namespace check
