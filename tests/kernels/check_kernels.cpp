// Holds every variant of the kernels that this machine runs against the reference in float64: for
// both types, one to three threads, in training, inference, and inference on packed weights. Then
// stacks of layers: on several threads, where small ones go in wavefront, as on one.
//
//   check_kernels [quick | COUNT SEED]
//
// quick: without cases that take long; COUNT SEED: made-up cases instead.
//
// Prints a line for each variant and type, and exits with 1 if one of them failed.
#include <cmath>
#include <cstdio>
#include <cstdlib>

#include "allowed.h"
#include "run.h"
#include "stack.h"

namespace check {
namespace {

constexpr int kThreads = 3;

struct Tally {
  int passed = 0;
  int failed = 0;
  double worst = 0;  // error, in units of what is allowed
};

// One problem in one mode, by one variant.
class Check {
 public:
  Check(const fastlstm::Kernels& kernels, const Problem& problem, Mode mode)
      : kernels_(kernels), problem_(problem), mode_(mode) {}

  bool passes(double& worst) {
    const Run alone(kernels_, problem_, mode_, 1);
    look(alone, 1);
    const double more = mode_ == Mode::kInt8 ? int8_allowance(problem_) : 0;
    const auto compare = [&](const char* name, const Doubles& expected, const Buffer& got) {
      const Allowed allowed(problem_, expected, more);
      for (size_t i = 0; i < expected.size(); ++i) {
        const double error = std::fabs(got[i] - expected[i]) / allowed.at(expected[i]);
        worst = std::fmax(worst, error);
        if (error <= 1) continue;  // not if it is NaN
        return fail(1, "%s[%zu] is %.9g, expected %.9g +- %.2g", name, i, got[i], expected[i],
                    allowed.at(expected[i]));
      }
    };
    each_output(compare, problem_.expected, alone.results());
    if (mode_ == Mode::kTraining) each_gradient(compare, problem_.expected, alone.results());
    for (int threads = 2; threads <= kThreads; ++threads) {
      const Run together(kernels_, problem_, mode_, threads);
      look(together, threads);
      const auto same = [&](const char* name, const Buffer& one, const Buffer& other) {
        if (!(one == other)) fail(threads, "%s is not what one thread computes", name);
      };
      each_output(same, alone.results(), together.results());
      each_gradient(same, alone.results(), together.results());
    }
    return !failed_;
  }

 private:
  void look(const Run& run, int threads) {
    if (run.overrun()) fail(threads, "something was written beside %s", run.overrun());
  }
  template <class... Values>
  void fail(int threads, const char* format, Values... values) {
    static const char* const kModes[] = {"training", "inference", "packed",
                                         "wide",     "stream",    "int8"};
    if (!failed_) {
      std::printf("  %s %s, %s, %d threads: ", kernels_.name, problem_.name().c_str(),
                  kModes[static_cast<int>(mode_)], threads);
      std::printf(format, values...);
      std::printf("\n");
    }
    failed_ = true;
  }

  const fastlstm::Kernels& kernels_;
  const Problem& problem_;
  Mode mode_;
  bool failed_ = false;
};

void count(bool passed, Tally& tally) { ++(passed ? tally.passed : tally.failed); }

void check_stack(const fastlstm::Kernels& kernels, const Problem& problem, Stack::Pass pass,
                 Tally& tally) {
  if (problem.sizes.directions > 1 || problem.sizes.batch == 0) return;
  const Stack alone(kernels, problem, pass, 1);
  bool passed = alone.intact();
  for (int threads = 2; threads <= kThreads; ++threads) {
    const Stack together(kernels, problem, pass, threads);
    passed = passed && together.intact() && together.results() == alone.results();
  }
  if (!passed) std::printf("  %s %s, a stack\n", kernels.name, problem.name().c_str());
  count(passed, tally);
}

Tally check_variant(const fastlstm::Kernels& kernels, const std::vector<Problem>& problems) {
  Tally tally;
  for (const Problem& problem : problems) {
    for (const Mode mode :
         {Mode::kTraining, Mode::kInference, Mode::kPacked, Mode::kWide, Mode::kStream}) {
      if (mode == Mode::kWide && problem.type == Type::kFloat32) continue;
      count(Check(kernels, problem, mode).passes(tally.worst), tally);
    }
    for (const auto pass :
         {Stack::Pass::kTraining, Stack::Pass::kInference, Stack::Pass::kStream}) {
      check_stack(kernels, problem, pass, tally);
    }
  }
  return tally;
}

// Weights in 8 bits; where integers are not multiplied, the layer is that of rounded floats.
Tally check_int8(const fastlstm::Kernels& kernels, const std::vector<Problem>& problems) {
  Tally tally;
  const bool integers = kernels.multiplies_int8;
  for (const Problem& problem : problems) {
    if (problem.sizes.projection > 0) continue;
    const Problem rounded = with_int8_weights(kernels, problem);
    const Mode mode = integers ? Mode::kInt8 : Mode::kPacked;
    count(Check(kernels, rounded, mode).passes(tally.worst), tally);
    if (integers) check_stack(kernels, problem, Stack::Pass::kInt8, tally);
  }
  return tally;
}

}  // namespace
}  // namespace check

int main(int count, char** arguments) {
  using namespace check;
  const bool quick = count == 2 && std::string(arguments[1]) == "quick";
  const std::vector<Case> cases =
      count == 3 ? made_up_cases(std::atoi(arguments[1]), std::strtoull(arguments[2], nullptr, 10))
                 : listed_cases(quick);
  const std::vector<Problem> problems[] = {make_problems(Type::kFloat32, cases),
                                           make_problems(Type::kBFloat16, cases)};
  Tally total;
  const auto report = [&](const char* name, const char* type, const Tally& tally) {
    std::printf("%s %s: %d passed, %d failed, worst error %.2f of what is allowed\n", name, type,
                tally.passed, tally.failed, tally.worst);
    total.passed += tally.passed;
    total.failed += tally.failed;
  };
  for (const auto* kernels = fastlstm::supported(); *kernels; ++kernels) {
    report((*kernels)->name, "float32", check_variant(**kernels, problems[0]));
    report((*kernels)->name, "bfloat16", check_variant(**kernels, problems[1]));
    report((*kernels)->name, "int8", check_int8(**kernels, problems[0]));
  }
  std::printf("%zu shapes\n%d passed, %d failed\n", cases.size(), total.passed, total.failed);
  return total.failed > 0;
}
