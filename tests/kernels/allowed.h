// What is allowed of rounding.
#pragma once
#include <cmath>

#include "layer.h"

namespace check {

// How far a result may be from the reference.
//
// In float a sum of K terms errs by at most K roundings, each of 2^-24 of the sum of their sizes;
// in blocks by fewer, and they partly cancel: a quarter of K is plenty. A step adds the ten or so
// roundings of its pointwise part, and hands its error on to the next. Values are of the order of
// 1, or of the largest of their tensor.
//
// bfloat16 rounds a value once more, by at most 2^-8 of it. That may fall to the other side than
// the reference's, which makes 2^-7; and so may the rounding of what the value was made from, some
// of its terms, which together are allowed half as much of the largest value.
class Allowed {
 public:
  // `more`: for what is rounded besides.
  Allowed(const Problem& problem, const Doubles& expected, double more) {
    double largest = 1;
    for (const double value : expected) largest = std::fmax(largest, std::fabs(value));
    const Shape s = problem.shape(1);
    const int64_t rows = s.offsets[s.steps];
    const int64_t depth = kGates * s.hidden + s.input + s.output() + rows;
    absolute_ = largest * 0x1p-24 * static_cast<double>(depth / 4 + 10 * s.steps) + more;
    if (problem.type == Type::kFloat32) return;
    relative_ = 0x1p-7;
    absolute_ += largest * 0x1p-8;
  }
  double at(double expected) const { return absolute_ + relative_ * std::fabs(expected); }

 private:
  double absolute_ = 0;
  double relative_ = 0;
};

}  // namespace check
