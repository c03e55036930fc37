// A layer to check: its sizes, what goes in, and what should come out.
//
// Shapes are those of csrc/lstm.h: T steps, B batch, I input, H hidden, P projection, D directions,
// N rows, O the size of h.
#pragma once
#include <string>
#include <vector>

#include "lstm.h"

namespace check {

using fastlstm::kGates;
using fastlstm::kMaxDirections;
using fastlstm::Shape;
using fastlstm::Type;
using fastlstm::Weights;

typedef std::vector<double> Doubles;

template <class Item>
struct Inputs {
  Item x;     // [N, I]
  Item h_0;   // [D, B, O]
  Item c_0;   // [D, B, H]
  Item dy;    // [N, D, O], or empty: none arrives
  Item dh_n;  // [D, B, O], or empty
  Item dc_n;  // [D, B, H], or empty
  Weights<Item> weights[kMaxDirections];
};

template <class Item>
struct Results {
  Item y;     // [N, D, O]
  Item h_n;   // [D, B, O]
  Item c_n;   // [D, B, H]
  Item dx;    // [N, I]
  Item dh_0;  // [D, B, O]
  Item dc_0;  // [D, B, H]
  Weights<Item> dweights[kMaxDirections];
};

// visit(name, item, ...) for each tensor, of several layers side by side.
template <class Visit, class... Of>
void each_weight(Visit visit, Of&... of) {
  visit("weight_ih", of.ih...);
  visit("weight_hh", of.hh...);
  visit("bias_ih", of.bias_ih...);
  visit("bias_hh", of.bias_hh...);
  visit("weight_hr", of.hr...);
}

template <class Visit, class... Of>
void each_input(Visit visit, Of&... of) {
  visit("x", of.x...);
  visit("h_0", of.h_0...);
  visit("c_0", of.c_0...);
  visit("dy", of.dy...);
  visit("dh_n", of.dh_n...);
  visit("dc_n", of.dc_n...);
  for (int d = 0; d < kMaxDirections; ++d) each_weight(visit, of.weights[d]...);
}

template <class Visit, class... Of>
void each_output(Visit visit, Of&... of) {
  visit("y", of.y...);
  visit("h_n", of.h_n...);
  visit("c_n", of.c_n...);
}

template <class Visit, class... Of>
void each_gradient(Visit visit, Of&... of) {
  visit("dx", of.dx...);
  visit("dh_0", of.dh_0...);
  visit("dc_0", of.dc_0...);
  const auto of_weight = [&](const char* name, auto&... item) {
    visit((std::string("d") + name).c_str(), item...);
  };
  for (int d = 0; d < kMaxDirections; ++d) each_weight(of_weight, of.dweights[d]...);
}

// What makes a case special.
enum Flag {
  kRagged = 1,  // sequences end early, some steps may be empty
  kNoBias = 2,
  kNoDy = 4,         // no gradient arrives at y
  kNoDstates = 8,    // ... at h_n and c_n
  kNoDx = 16,        // the gradient of x is not wanted
  kNoDweights = 32,  // ... those of the weights
  kMapped = 64       // x and y have more rows than the batch, in another order
};

struct Case {
  int64_t steps, batch, input, hidden, projection, directions;
  int flags;
};

struct Problem {
  Case sizes;
  Type type;
  std::vector<int64_t> offsets;  // [T + 1]
  std::vector<int64_t> map;      // [N], or empty: packed rows
  Inputs<Doubles> inputs;
  Results<Doubles> expected;

  Shape shape(int threads) const {
    return {sizes.steps,      sizes.batch,      sizes.input,    sizes.hidden,
            sizes.projection, sizes.directions, offsets.data(), threads};
  }
  // Rows of x and y.
  int64_t room() const { return is(kMapped) ? 2 * offsets.back() + 1 : offsets.back(); }
  const int64_t* rows() const { return map.empty() ? nullptr : map.data(); }
  bool is(Flag flag) const { return sizes.flags & flag; }
  std::string name() const;
};

// cases.cpp. The cases to check; `quick`: without those that take long in an emulator.
std::vector<Case> listed_cases(bool quick);
std::vector<Problem> make_problems(Type type, const std::vector<Case>& cases);
// Multiply-adds of the forward pass.
int64_t work(const Case& sizes);

// made_up.cpp
std::vector<Case> made_up_cases(int count, uint64_t seed);

// int8.cpp. The problem where weights are what 8 bits hold, in forward alone; and how far its
// results may be from what is expected, for 16 bits of x and h.
Problem with_int8_weights(const fastlstm::Kernels& kernels, const Problem& problem);
double int8_allowance(const Problem& problem);

// The nearest number of the type, ties to even.
double round_to(Type type, double value);

// reference.cpp
Results<Doubles> reference(const Shape& shape, Type type, const Inputs<Doubles>& in);

}  // namespace check
