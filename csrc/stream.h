// A stack of layers that is fed step by step, and keeps its state and packed weights in between.
#pragma once
#include <mutex>
#include <string>
#include <vector>

#include "lstm.h"
#include "weight_cache.h"

namespace fastlstm {

class Stream {
 public:
  // Of one direction. `shape.input` is that of the first layer, offsets and steps are not read.
  // `held` as for form_of; `noise` must be expected.
  Stream(const Shape& shape, std::int64_t layers, bool bfloat16, const std::string& held,
         const Noise& noise);

  // Packs the weights of a layer, which may change afterwards without effect.
  void set_weights(std::int64_t layer, const Weights<const void*>& weights);
  // x [steps, B, I] -> y [steps, B, O].
  void advance(const void* x, void* y, std::int64_t steps, int threads);
  // h [layers, B, O], of the type of x, and c [layers, B, H], float.
  void read_state(void* h, void* c);
  void write_state(const void* h, const void* c);

 private:
  Shape layer_shape(std::int64_t layer, std::int64_t steps, int threads) const;

  std::mutex mutex_;  // callers on several threads take turns
  const Kernels& kernels_;
  Shape shape_;
  std::int64_t layers_;
  Form form_;
  Noise noise_;
  std::vector<Packed> packed_;
  std::vector<ForwardArgs> args_;  // of the call under way
  std::vector<char> h_;
  std::vector<float> c_;
  std::vector<std::int64_t> offsets_;
};

}  // namespace fastlstm
