#include "stream.h"

#include <cstring>

#include "workspace.h"

namespace fastlstm {

Stream::Stream(const Shape& shape, std::int64_t layers, bool bfloat16, const std::string& held,
               const Noise& noise)
    : kernels_(active()),
      shape_(shape),
      layers_(layers),
      form_(form_of(kernels_, shape, bfloat16, held, noise.any())),
      noise_(noise),
      packed_(layers),
      args_(layers),
      h_(layers * shape.batch * shape.output() * form_.element()),
      c_(layers * shape.batch * shape.hidden) {}

Shape Stream::layer_shape(std::int64_t layer, std::int64_t steps, int threads) const {
  Shape shape = shape_;
  shape.input = layer == 0 ? shape_.input : shape_.output();
  shape.steps = steps;
  shape.directions = 1;
  shape.offsets = offsets_.data();
  shape.threads = threads;
  return shape;
}

void Stream::set_weights(std::int64_t layer, const Weights<const void*>& weights) {
  const std::lock_guard<std::mutex> lock(mutex_);
  packed_[layer] = pack_weights(kernels_, layer_shape(layer, 1, 1), form_, weights);
}

void Stream::advance(const void* x, void* y, std::int64_t steps, int threads) {
  const std::lock_guard<std::mutex> lock(mutex_);
  while (static_cast<std::int64_t>(offsets_.size()) <= steps) {
    offsets_.push_back(static_cast<std::int64_t>(offsets_.size()) * shape_.batch);
  }
  const std::int64_t states = shape_.batch * form_.element();
  for (std::int64_t layer = 0; layer < layers_; ++layer) {
    ForwardArgs& args = args_[layer];
    args = {layer_shape(layer, steps, threads), form_.type, form_.wide, true};
    args.x = x;
    args.y = layer + 1 < layers_ ? nullptr : y;
    args.h_n = h_.data() + layer * states * shape_.output();
    args.c_n = c_.data() + layer * shape_.batch * shape_.hidden;
    args.h_0 = args.h_n;
    args.c_0 = args.c_n;
    args.packed[0] = packed_[layer].get();
    args.noise = noise_;
  }
  const Workspace workspace(kernels_.forward_workspace(args_.data(), layers_));
  kernels_.forward(args_.data(), layers_, workspace.data());
}

void Stream::read_state(void* h, void* c) {
  const std::lock_guard<std::mutex> lock(mutex_);
  std::memcpy(h, h_.data(), h_.size());
  std::memcpy(c, c_.data(), c_.size() * sizeof(float));
}

void Stream::write_state(const void* h, const void* c) {
  const std::lock_guard<std::mutex> lock(mutex_);
  std::memcpy(h_.data(), h, h_.size());
  std::memcpy(c_.data(), c, c_.size() * sizeof(float));
}

}  // namespace fastlstm
