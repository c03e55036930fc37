// Layers of a stack beside each other: one layer's steps run while those above it follow.
#pragma once
#include "lstm.h"

namespace fastlstm {

class Looks;

// Each layer's work is a row of parts. Part 0 waits for nobody; part n of a layer comes after its
// part n - 1, and after part n of the layer before. A thread goes on with the layers that it began:
// their weights and states are in that core's cache. Another one takes a layer over if it is left
// lying: its thread is at work on another layer, or has lost its core.
class Wavefront {
 public:
  static constexpr int64_t kMostLayers = 64;

  explicit Wavefront(int64_t layers);

  // What each thread calls: does parts, beside the others, until each layer has `parts` of them
  // behind it.
  void work(int thread, int64_t parts, void (*body)(int64_t layer, int64_t part, void* context),
            void* context);

 private:
  struct alignas(64) Layer {
    int taken = 0;     // whether a thread works on it
    int owner = -1;    // who did its last part
    int64_t done = 0;  // parts
  };

  // The last layer that a thread may go on with: of its own, of nobody's, or left lying; or -1.
  int64_t find(int thread, int64_t parts, Looks& looks) const;
  bool is_ready(int64_t layer, int64_t parts) const;

  int64_t layers_;
  Layer of_[kMostLayers];
};

}  // namespace fastlstm
