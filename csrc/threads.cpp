#include "threads.h"

#include <omp.h>
#include <pthread.h>
#include <sched.h>
#include <time.h>

#include <algorithm>
#include <atomic>

#include "subnormals.h"

namespace fastlstm {
namespace {

// A thread has lost its core if it is this late, and later than several times a step's work.
constexpr int64_t kPatience = 1500000;  // ticks: about half a millisecond
constexpr int64_t kPatienceInSteps = 4;
// Below this many multiply-adds a step, a step is shorter than a barrier is worth.
constexpr int64_t kMinStepWork = 40000;
// Below this many in the whole call, waking a second thread is not worth it.
constexpr int64_t kMinWork = 400000;
// From this many rows a thread, threads split the batch, and nobody waits for anybody; from half as
// many where units are too few, or their steps too short, to be shared.
constexpr int64_t kMinRows = 4;

// An OpenMP team does not survive fork(): in a child whose parent had one, the next would hang.
std::atomic<bool> forked_from_a_team{false};
std::atomic<bool> had_a_team{false};

bool register_fork_handler() {
  return pthread_atfork(nullptr, nullptr, [] {
           if (had_a_team) forked_from_a_team = true;
         }) == 0;
}

const bool fork_handler_registered = register_fork_handler();

// A clock that costs little to read; its rate matters only roughly.
int64_t ticks() {
#if defined(__x86_64__)
  return static_cast<int64_t>(__builtin_ia32_rdtsc());
#else
  timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (time.tv_sec * int64_t{1000000000} + time.tv_nsec) * 3;
#endif
}

void run_without_subnormals(void (*body)(int, int, void*), int thread, int threads, void* context) {
  [[maybe_unused]] const NoSubnormals here;
  body(thread, threads, context);
}

}  // namespace

void pause_cpu() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

int threads_allowed(int wanted) { return forked_from_a_team ? 1 : wanted; }

void run_on_threads(int wanted, void (*body)(int, int, void*), void* context) {
  if (wanted == 1) return run_without_subnormals(body, 0, 1, context);
  had_a_team.store(true, std::memory_order_relaxed);
#pragma omp parallel num_threads(wanted)
  run_without_subnormals(body, omp_get_thread_num(), omp_get_num_threads(), context);
}

void split_over_threads(int wanted, int64_t count, void (*body)(int64_t, int64_t, void*),
                        void* context) {
  struct Call {
    int64_t count;
    void (*body)(int64_t, int64_t, void*);
    void* context;
  } call{count, body, context};
  const auto run_part = [](int thread, int threads, void* context) {
    const Call& call = *static_cast<const Call*>(context);
    const int64_t begin = call.count * thread / threads;
    call.body(begin, call.count * (thread + 1) / threads, call.context);
  };
  run_on_threads(wanted, run_part, &call);
}

void Barrier::reset(int members) {
  members_ = members;
  for (int member = 0; member < members; ++member) times_[member].released = ticks();
}

Verdict Barrier::wait(int member) {
  const int generation = __atomic_load_n(&generation_, __ATOMIC_RELAXED);
  int64_t& released = times_[member].released;
  if (__atomic_add_fetch(&arrived_, 1, __ATOMIC_ACQ_REL) == members_) {
    __atomic_store_n(&arrived_, 0, __ATOMIC_RELAXED);
    verdict_ = __atomic_load_n(&alone_, __ATOMIC_ACQUIRE);
    __atomic_store_n(&generation_, generation + 1, __ATOMIC_RELEASE);
  } else {
    const int64_t arrived_at = ticks();
    const int64_t work = arrived_at - released;
    const int64_t limit = arrived_at + std::max(kPatience, kPatienceInSteps * work);
    for (int spins = 0; __atomic_load_n(&generation_, __ATOMIC_ACQUIRE) == generation; ++spins) {
      pause_cpu();
      if (spins % 64 != 63 || ticks() < limit) continue;
      int nobody = 0;
      __atomic_compare_exchange_n(&alone_, &nobody, member + 1, false, __ATOMIC_ACQ_REL,
                                  __ATOMIC_RELAXED);
      sched_yield();
    }
  }
  released = ticks();
  if (verdict_ == 0) return Verdict::kTogether;
  return verdict_ == member + 1 ? Verdict::kAlone : Verdict::kLeave;
}

Team::Team(const Shape& shape, int64_t blocks, bool may_split_rows)
    : shape_(shape), size_(shape.threads), groups_(1) {
  const int64_t step_work = kGates * shape.hidden * shape.output() * shape.batch;
  const int64_t input_work = kGates * shape.hidden * shape.input * shape.batch;
  const int64_t work = (step_work + input_work) * shape.steps * shape.directions;
  size_ = work < kMinWork ? 1 : threads_allowed(size_);
  if (size_ > 1) groups_ = static_cast<int>(shape.directions);
  int members = size_ / groups_;
  const bool shares_units = blocks >= members && step_work >= kMinStepWork;
  const int64_t least_rows = shares_units ? kMinRows : kMinRows / 2;
  splits_rows_ = may_split_rows && shape.batch >= least_rows * members;
  if (!splits_rows_) {
    members = step_work < kMinStepWork ? 1 : static_cast<int>(std::min<int64_t>(members, blocks));
  }
  members_ = std::max(1, std::min<int>(members, Barrier::kMaxMembers));
  size_ = members_ * groups_;
  for (int group = 0; group < groups_; ++group) barriers_[group].reset(members_);
}

// The first row of part `part` of `parts`, such that each part has about as many steps to do.
int64_t Team::row_boundary(int part, int parts) const {
  if (part == 0) return 0;
  if (part == parts) return shape_.batch;
  if (shape_.rows(shape_.steps - 1) == shape_.batch) return shape_.batch * part / parts;  // padded
  const int64_t wanted = shape_.offsets[shape_.steps] * part / parts;
  int64_t low = 0;
  int64_t high = shape_.batch;
  while (low < high) {
    const int64_t middle = (low + high) / 2;
    int64_t steps = 0;  // of the rows before `middle`
    for (int64_t t = 0; t < shape_.steps; ++t) steps += std::min(middle, shape_.rows(t));
    if (steps < wanted) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low;
}

Share Team::share(int thread) {
  const int group = thread % groups_;
  const int member = thread / groups_;
  Share share{{0, shape_.directions},
              {0, shape_.batch},
              splits_rows_,
              thread,
              member,
              members_,
              shape_.batch,
              members_ > 1 ? &barriers_[group] : nullptr};
  if (groups_ > 1) share.directions = {group, group + 1};
  if (splits_rows_)
    share.rows = {row_boundary(member, members_), row_boundary(member + 1, members_)};
  return share;
}

void Team::run(void (*body)(Share, void*), void* context) {
  struct Call {
    Team& team;
    void (*body)(Share, void*);
    void* context;
    bool alone;
  } call{*this, body, context, false};
  const auto run_share = [](int thread, int threads, void* context) {
    Call& call = *static_cast<Call*>(context);
    // There may be fewer threads than asked for; a barrier would then wait for ever.
    if (threads == call.team.size_) {
      call.body(call.team.share(thread), call.context);
    } else if (thread == 0) {
      call.alone = true;
    }
  };
  run_on_threads(size_, run_share, &call);
  if (!call.alone) return;
  size_ = groups_ = members_ = 1;
  call.alone = false;
  run_on_threads(1, run_share, &call);
}

}  // namespace fastlstm
