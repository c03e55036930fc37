// The cases, filled with pseudo-random numbers, and what should come out of each.
#include <cmath>
#include <cstring>

#include "random.h"

namespace check {
namespace {

// Sizes that bite: 1, primes, one more and one less than a vector, steps that lack sequences. Work
// is shared by threads from some hundred thousand multiply-adds on: by rows of the batch, or where
// these are few or the weights many, by units.
const Case kCases[] = {
    // T, B, I, H, P, D
    {1, 1, 1, 1, 0, 1, 0},
    {1, 1, 7, 13, 0, 2, kNoBias},
    {1, 4, 33, 31, 0, 1, 0},
    {1, 5, 3, 17, 5, 1, 0},
    {2, 1, 1, 1, 1, 2, kNoBias},
    {3, 2, 0, 5, 0, 1, 0},
    {4, 0, 3, 6, 0, 2, 0},
    {3, 1, 5, 3, 2, 1, kNoDy},
    {5, 3, 4, 16, 0, 1, kNoDstates},
    {7, 3, 5, 33, 0, 1, kRagged | kNoBias},
    {6, 11, 2, 15, 7, 2, kRagged},
    {13, 2, 19, 23, 0, 2, kNoDx},
    {5, 6, 17, 8, 3, 2, kRagged | kNoDweights},
    {11, 7, 1, 47, 0, 1, kRagged | kNoDy},
    {9, 13, 31, 7, 0, 2, kNoDx | kNoDweights},
    {8, 17, 29, 12, 11, 1, kRagged | kNoDstates},
    {150, 3, 3, 5, 0, 2, kRagged},
    {300, 2, 6, 4, 3, 1, 0},
    {40, 29, 5, 6, 0, 1, kRagged},
    {3, 1, 97, 65, 0, 2, 0},
    {2, 3, 200, 50, 0, 1, kNoBias},
    {1, 19, 61, 101, 0, 2, 0},
    // With more than one thread:
    {3, 4, 35, 100, 0, 1, 0},
    {4, 5, 37, 131, 0, 2, kRagged | kNoBias},
    {5, 3, 24, 127, 67, 1, kRagged},
    {20, 12, 13, 43, 0, 1, kRagged},
    {31, 9, 20, 36, 0, 2, kRagged | kNoBias},
    {17, 14, 9, 53, 29, 2, kRagged},
    {3, 2, 10, 160, 0, 1, kNoDx},
    {6, 1, 3, 173, 0, 1, 0},
    {7, 1, 41, 71, 33, 2, kNoDstates},
    {1, 1, 250, 307, 0, 1, 0},
    {2, 8, 130, 101, 0, 1, kNoDweights},
    {2, 18, 64, 144, 70, 2, 0},
    {65, 8, 11, 19, 0, 1, kRagged},
    {150, 8, 5, 14, 0, 1, kRagged | kNoDx | kNoDweights},
    {130, 9, 10, 13, 9, 2, kRagged},
    {600, 3, 2, 60, 0, 1, kRagged},
    {90, 2, 7, 37, 0, 1, kRagged},
    {70, 1, 60, 33, 12, 1, kNoDx},
    {1, 4, 33, 31, 0, 2, kMapped},
    {5, 3, 4, 16, 0, 1, kMapped},
    {6, 11, 2, 15, 7, 2, kMapped | kRagged},
    {13, 2, 19, 23, 0, 2, kMapped | kRagged},
    {150, 3, 3, 5, 0, 2, kMapped | kRagged | kNoBias},
    {4, 5, 37, 131, 0, 2, kMapped | kRagged},
    {20, 12, 13, 43, 0, 1, kMapped | kRagged},
    {17, 14, 9, 53, 29, 2, kMapped | kRagged},
    {1, 1, 250, 307, 0, 1, kMapped},
    {7, 1, 41, 71, 33, 2, kMapped | kNoDy},
    {90, 2, 7, 37, 0, 1, kMapped | kRagged},
    {70, 1, 60, 33, 12, 1, kMapped | kNoDx},
};

// Multiply-adds of the forward pass that an emulator does in a moment.
constexpr int64_t kQuick = 3000000;

std::vector<int64_t> make_offsets(const Case& sizes) {
  std::vector<int64_t> offsets = {0};
  for (int64_t t = 0; t < sizes.steps; ++t) {
    const int64_t left = sizes.flags & kRagged ? sizes.steps - t : sizes.steps;
    offsets.push_back(offsets.back() + sizes.batch * left / sizes.steps);
  }
  return offsets;
}

// The n-th packed row is the 7n-th of the rows, counted around.
std::vector<int64_t> make_map(const Problem& problem) {
  std::vector<int64_t> map;
  if (!problem.is(kMapped)) return map;
  const int64_t stride = problem.room() % 7 ? 7 : 8;
  for (int64_t n = 0; n < problem.offsets.back(); ++n) {
    map.push_back((3 + n * stride) % problem.room());
  }
  return map;
}

Inputs<Doubles> make_inputs(const Problem& problem, uint64_t seed) {
  const Shape s = problem.shape(1);
  const int64_t rows = s.offsets[s.steps], O = s.output(), H = s.hidden;
  Random random(seed);
  const auto numbers = [&](int64_t count, double limit) {
    return random.uniform(count, limit, problem.type);
  };
  const auto states = [&](int64_t size) { return numbers(s.directions * s.batch * size, 1); };
  Inputs<Doubles> in{numbers(rows * s.input, 1), states(O), states(H)};
  if (!problem.is(kNoDy)) in.dy = numbers(rows * s.directions * O, 1);
  if (!problem.is(kNoDstates)) in.dh_n = states(O);
  if (!problem.is(kNoDstates)) in.dc_n = states(H);
  const double limit = 1 / std::sqrt(static_cast<double>(O));  // the states neither fade nor burst
  for (int64_t d = 0; d < s.directions; ++d) {
    const int64_t biases = problem.is(kNoBias) ? 0 : kGates * H;
    in.weights[d] = {numbers(kGates * H * s.input, limit), numbers(kGates * H * O, limit),
                     numbers(biases, limit), numbers(biases, limit),
                     numbers(s.projection * H, limit)};
  }
  return in;
}

}  // namespace

int64_t work(const Case& c) {
  const int64_t output = c.projection ? c.projection : c.hidden;
  return c.steps * c.batch * c.directions * kGates * c.hidden * (c.input + output);
}

double round_to(Type type, double value) {
  const float single = static_cast<float>(value);
  if (type == Type::kFloat32) return single;
  uint32_t bits;
  std::memcpy(&bits, &single, 4);
  bits = (bits + 0x7fff + (bits >> 16 & 1)) & 0xffff0000;
  float rounded;
  std::memcpy(&rounded, &bits, 4);
  return rounded;
}

std::string Problem::name() const {
  const Case& c = sizes;
  return "T" + std::to_string(c.steps) + " B" + std::to_string(c.batch) + " I" +
         std::to_string(c.input) + " H" + std::to_string(c.hidden) + " P" +
         std::to_string(c.projection) + " D" + std::to_string(c.directions) +
         (is(kRagged) ? " ragged" : "") + (is(kMapped) ? " mapped" : "");
}

std::vector<Case> listed_cases(bool quick) {
  std::vector<Case> cases;
  for (const Case& sizes : kCases) {
    if (!quick || work(sizes) <= kQuick) cases.push_back(sizes);
  }
  return cases;
}

std::vector<Problem> make_problems(Type type, const std::vector<Case>& cases) {
  std::vector<Problem> problems;
  for (const Case& sizes : cases) {
    Problem problem{sizes, type, make_offsets(sizes), {}, {}, {}};
    problem.map = make_map(problem);
    problem.inputs = make_inputs(problem, problems.size() + 1);
    problem.expected = reference(problem.shape(1), type, problem.inputs);
    if (problem.is(kNoDx)) problem.expected.dx.clear();
    if (problem.is(kNoDweights)) {
      for (auto& dweights : problem.expected.dweights) dweights = {};
    }
    problems.push_back(std::move(problem));
  }
  return problems;
}

}  // namespace check
