// Packed weights that inference keeps from one call to the next.
#pragma once
#include <memory>

#include "lstm.h"

namespace fastlstm {

// A direction's weights, packed; free them by letting go.
using Packed = std::shared_ptr<float>;

// Packs the weights of a direction for `type`; they are float if `wide`, else of that type.
Packed pack_weights(const Kernels& kernels, const Shape& shape, Type type, bool wide,
                    const Weights<const void*>& weights);

// The same, from the calls before if the weights have not changed since. Null the first time that
// weights are seen: they may be in training, or gone soon. What counts is their contents, not where
// they lie or who says that they have changed: a fingerprint of all of them is taken at each call.
Packed cached_weights(const Kernels& kernels, const Shape& shape, Type type, bool wide,
                      const Weights<const void*>& weights);

}  // namespace fastlstm
