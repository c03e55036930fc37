// Pseudo-random numbers, the same on every machine.
#pragma once
#include "layer.h"

namespace check {

// SplitMix64 (Steele et al. 2014).
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}

  Doubles uniform(int64_t count, double limit, Type type) {
    Doubles numbers(count);
    for (double& number : numbers) number = round_to(type, limit * next());
    return numbers;
  }
  double next() {  // in [-1, 1)
    uint64_t z = state_ += 0x9e3779b97f4a7c15;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return static_cast<double>((z ^ (z >> 31)) >> 11) * 0x1p-52 - 1;
  }

 private:
  uint64_t state_;
};

}  // namespace check
