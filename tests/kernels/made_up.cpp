// Cases of which nobody has thought.
#include <cmath>

#include "random.h"

namespace check {
namespace {

// Multiply-adds of the forward pass: enough for several threads, and soon done under a sanitizer.
constexpr int64_t kMostWork = 1500000;

class Choice {
 public:
  explicit Choice(uint64_t seed) : random_(seed) {}

  bool one_in(int64_t count) { return up_to(count) == 1; }
  // From 1 on, small ones more often than large ones.
  int64_t up_to(double most) {
    const double part = (random_.next() + 1) / 2;
    return static_cast<int64_t>(std::exp(part * std::log(most + 1)));
  }

 private:
  Random random_;
};

Case make_up(Choice& choose) {
  Case made{choose.up_to(80), choose.up_to(40), choose.up_to(150), choose.up_to(160), 0, 1, 0};
  if (choose.one_in(12)) made.input = 0;
  if (choose.one_in(30)) made.batch = 0;
  if (choose.one_in(3)) made.projection = choose.up_to(static_cast<double>(made.hidden));
  if (choose.one_in(2)) made.directions = 2;
  for (const Flag flag : {kNoBias, kNoDy, kNoDstates, kNoDx, kNoDweights}) {
    if (choose.one_in(5)) made.flags |= flag;
  }
  for (const Flag flag : {kRagged, kMapped}) {
    if (choose.one_in(2)) made.flags |= flag;
  }
  return made;
}

}  // namespace

std::vector<Case> made_up_cases(int count, uint64_t seed) {
  Choice choose(seed);
  std::vector<Case> cases;
  while (static_cast<int>(cases.size()) < count) {
    const Case made = make_up(choose);
    if (work(made) <= kMostWork) cases.push_back(made);
  }
  return cases;
}

}  // namespace check
