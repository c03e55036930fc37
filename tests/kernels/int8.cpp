// A layer whose weights are held in 8 bits, with a scale for each gate and unit.
#include <cmath>

#include "layer.h"

namespace check {
namespace {

Doubles rounded(const fastlstm::Kernels& kernels, const Doubles& weight, int64_t rows) {
  const std::vector<float> from(weight.begin(), weight.end());
  std::vector<float> to(from.size());
  kernels.round_to_int8(from.data(), to.data(), rows, static_cast<int64_t>(from.size()) / rows);
  return Doubles(to.begin(), to.end());
}

}  // namespace

Problem with_int8_weights(const fastlstm::Kernels& kernels, const Problem& problem) {
  Problem result = problem;
  const Shape shape = result.shape(1);
  for (int64_t d = 0; d < shape.directions; ++d) {
    Weights<Doubles>& weights = result.inputs.weights[d];
    for (Doubles* weight : {&weights.ih, &weights.hh}) {
      if (!weight->empty()) *weight = rounded(kernels, *weight, kGates * shape.hidden);
    }
  }
  result.expected = reference(shape, problem.type, result.inputs);
  return result;
}

double int8_allowance(const Problem& problem) {
  const Shape shape = problem.shape(1);
  const double depth = static_cast<double>(shape.input + shape.output());
  // A product errs by its weight, at most O^-1/2, times half of 2^-15; errors partly cancel.
  const double step = 0x1p-16 * std::sqrt(depth / static_cast<double>(shape.output()));
  return step * (1 + std::sqrt(static_cast<double>(shape.steps)));
}

}  // namespace check
