// Layers of a stack beside each other: one layer's steps run while those above it follow.
#pragma once
#include "lstm.h"

namespace fastlstm {

// Each layer's work is a row of parts. Part 0 waits for nobody; part n of a layer comes after its
// part n - 1, and after part n of the layer before. Threads take whatever is ready: a thread that
// has lost its core holds up only what depends on the part that it has in hand.
class Wavefront {
 public:
  static constexpr int64_t kMostLayers = 64;

  Wavefront(int64_t layers, int64_t parts);
  // Runs body(layer, part, context) for all of them, on up to `threads` threads, and then, if it is
  // not null, rest(thread, threads, context) on each of these.
  void run(int threads, void (*body)(int64_t layer, int64_t part, void* context),
           void (*rest)(int thread, int threads, void* context), void* context);

 private:
  struct alignas(64) Layer {
    int taken = 0;     // whether a thread works on it
    int64_t done = 0;  // parts
  };

  void work(void (*body)(int64_t, int64_t, void*), void* context);
  // Does one part of the first layer, counted from the last, that is ready. False: none is.
  bool work_once(void (*body)(int64_t, int64_t, void*), void* context);
  bool is_ready(int64_t layer) const;

  int64_t layers_;
  int64_t parts_;
  Layer of_[kMostLayers];
};

}  // namespace fastlstm
