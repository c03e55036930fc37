// Holds every variant of the kernels that this machine runs against the reference in float64: for
// both types, one to three threads, in training, inference, and inference on packed weights. Then
// stacks of layers: on several threads, where small ones go in wavefront, as on one.
//
//   check_kernels [quick]
//
// Prints a line for each variant and type, and exits with 1 if one of them failed.
#include <cmath>
#include <cstdio>

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
  Allowed(const Problem& problem, const Doubles& expected) {
    double largest = 1;
    for (const double value : expected) largest = std::fmax(largest, std::fabs(value));
    const Shape s = problem.shape(1);
    const int64_t rows = s.offsets[s.steps];
    const int64_t depth = kGates * s.hidden + s.input + s.output() + rows;
    absolute_ = largest * 0x1p-24 * static_cast<double>(depth / 4 + 10 * s.steps);
    if (problem.type == Type::kFloat32) return;
    relative_ = 0x1p-7;
    absolute_ += largest * 0x1p-8;
  }
  double at(double expected) const { return absolute_ + relative_ * std::fabs(expected); }

 private:
  double absolute_ = 0;
  double relative_ = 0;
};

// One problem in one mode, by one variant.
class Check {
 public:
  Check(const fastlstm::Kernels& kernels, const Problem& problem, Mode mode)
      : kernels_(kernels), problem_(problem), mode_(mode) {}

  bool passes(double& worst) {
    const Run alone(kernels_, problem_, mode_, 1);
    look(alone, 1);
    const auto compare = [&](const char* name, const Doubles& expected, const Buffer& got) {
      const Allowed allowed(problem_, expected);
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
    static const char* const kModes[] = {"training", "inference", "packed", "wide", "stream"};
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

bool check_stack(const fastlstm::Kernels& kernels, const Problem& problem, Stack::Pass pass) {
  const Stack alone(kernels, problem, pass, 1);
  bool passed = alone.intact();
  for (int threads = 2; threads <= kThreads; ++threads) {
    const Stack together(kernels, problem, pass, threads);
    passed = passed && together.intact() && together.results() == alone.results();
  }
  if (!passed) std::printf("  %s %s, a stack\n", kernels.name, problem.name().c_str());
  return passed;
}

Tally check_variant(const fastlstm::Kernels& kernels, const std::vector<Problem>& problems) {
  Tally tally;
  for (const Problem& problem : problems) {
    for (const Mode mode :
         {Mode::kTraining, Mode::kInference, Mode::kPacked, Mode::kWide, Mode::kStream}) {
      if (mode == Mode::kWide && problem.type == Type::kFloat32) continue;
      const bool passed = Check(kernels, problem, mode).passes(tally.worst);
      ++(passed ? tally.passed : tally.failed);
    }
    if (problem.sizes.directions > 1 || problem.sizes.batch == 0) continue;
    for (const auto pass :
         {Stack::Pass::kTraining, Stack::Pass::kInference, Stack::Pass::kStream}) {
      ++(check_stack(kernels, problem, pass) ? tally.passed : tally.failed);
    }
  }
  return tally;
}

}  // namespace
}  // namespace check

int main(int count, char** arguments) {
  using namespace check;
  const bool quick = count > 1 && std::string(arguments[1]) == "quick";
  Tally total;
  for (const Type type : {Type::kFloat32, Type::kBFloat16}) {
    const std::vector<Problem> problems = make_problems(type, quick);
    for (const auto* kernels = fastlstm::supported(); *kernels; ++kernels) {
      const Tally tally = check_variant(**kernels, problems);
      std::printf("%s %s: %d passed, %d failed, worst error %.2f of what is allowed\n",
                  (*kernels)->name, type == Type::kFloat32 ? "float32" : "bfloat16", tally.passed,
                  tally.failed, tally.worst);
      total.passed += tally.passed;
      total.failed += tally.failed;
    }
  }
  std::printf("%d passed, %d failed\n", total.passed, total.failed);
  return total.failed > 0;
}
