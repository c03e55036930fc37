// Packed weights that inference keeps from one call to the next.
#pragma once
#include <cstdint>
#include <memory>
#include <string>

#include "lstm.h"

namespace fastlstm {

// A direction's weights, packed; free them by letting go.
using Packed = std::shared_ptr<float>;

// What a layer of floats or of bfloat16 holds its weights and h in.
struct Form {
  Type type;
  bool wide;  // as in ForwardArgs
  bool int8;  // weights are rounded to 8 bits, whatever they are held in

  // Bytes of an element of x, y, h and the weights as they come.
  std::int64_t element() const { return wide || type == Type::kFloat32 ? 4 : 2; }
  bool rounds() const { return wide || int8; }
};

// `held`: "bf16" or "int8", of a layer of floats; "": what it is. Of a stack, `shape` is the first
// layer's. `noisy`: whether it has noise, which no integers have.
Form form_of(const Kernels& kernels, const Shape& shape, bool bfloat16, const std::string& held,
             bool noisy);

// Packs the weights of a direction.
Packed pack_weights(const Kernels& kernels, const Shape& shape, const Form& form,
                    const Weights<const void*>& weights);

// The same, from the calls before if the weights have not changed since. Null the first time that
// weights are seen, unless the form rounds them: they may be in training, or gone soon. What counts
// is their contents, not where they lie or who says that they have changed: a fingerprint of all of
// them is taken at each call.
Packed cached_weights(const Kernels& kernels, const Shape& shape, const Form& form,
                      const Weights<const void*>& weights);

}  // namespace fastlstm
