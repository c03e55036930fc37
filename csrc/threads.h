// A team of threads that shares one layer.
#pragma once
#include "lstm.h"

namespace fastlstm {

// How many threads may work beside each other here: `wanted`, or 1.
int threads_allowed(int wanted);
// What a thread does that waits and is not to give up its core yet.
void pause_cpu();
// Runs body(thread, threads, context) on each of up to `wanted` threads; there may be fewer.
void run_on_threads(int wanted, void (*body)(int thread, int threads, void* context),
                    void* context);
// Runs body(begin, end, context) over [0, count), split evenly over up to `wanted` threads.
void split_over_threads(int wanted, int64_t count,
                        void (*body)(int64_t begin, int64_t end, void* context), void* context);

// What a thread does after it has met the others of its group.
enum class Verdict {
  kTogether,  // goes on with its own share
  kAlone,     // goes on with the whole group's share: the others leave
  kLeave,
};

// Lets the threads of a group meet once a step. It spins; on a machine that is short of cores the
// partner may not be running, and then every further step would wait for the scheduler. So the
// one that has waited for longer than is plausible finishes the work alone.
class Barrier {
 public:
  static constexpr int kMaxMembers = 256;

  void reset(int members);
  Verdict wait(int member);

 private:
  struct alignas(64) MemberTime {
    int64_t released;  // ticks; when it went on from the last meeting, or the team was formed
  };

  alignas(64) int arrived_ = 0;
  alignas(64) int generation_ = 0;
  int members_ = 1;
  int alone_ = 0;    // 1 + the member that asks to go on alone
  int verdict_ = 0;  // alone_, as it was when the last one arrived: the same for all
  MemberTime times_[kMaxMembers];
};

struct Range {
  int64_t begin, end;

  __attribute__((always_inline)) int64_t size() const { return end - begin; }
};

// What one thread does: every step of its directions. Threads of a direction share either the
// rows of the batch, and do not wait for each other within a step, or the hidden units, and meet
// after each step.
struct Share {
  Range directions;
  Range rows;           // of the batch
  bool splits_rows;     // else units
  int thread;           // of the team
  int member, members;  // of those with the same directions
  int64_t batch;
  Barrier* barrier;  // null: nobody to wait for

  // This thread's part of `count` things that the members divide among themselves.
  __attribute__((always_inline)) Range part(int64_t count) const {
    return {count * member / members, count * (member + 1) / members};
  }
  // This thread's part of a step's blocks of units: all of them where rows are split.
  __attribute__((always_inline)) Range units(int64_t count) const {
    return splits_rows ? Range{0, count} : part(count);
  }
  // The rows of the batch that this thread prepares.
  __attribute__((always_inline)) Range own_rows() const { return splits_rows ? rows : part(batch); }
  // Waits for the group, if there is one. False: another thread does the rest.
  __attribute__((always_inline)) bool meet() { return !barrier || after(barrier->wait(member)); }
  // As meet, where threads only wait for each other if they split units.
  __attribute__((always_inline)) bool meet_in_step() { return splits_rows || meet(); }

 private:
  __attribute__((always_inline)) bool after(Verdict verdict) {
    if (verdict == Verdict::kAlone) {
      member = 0;
      members = 1;
      rows = {0, batch};
      barrier = nullptr;
    }
    return verdict != Verdict::kLeave;
  }
};

// How a layer is split over threads: each direction's rows of the batch, if there are enough of
// them and it is wanted, so that nobody waits for anybody; else its blocks of hidden units.
class Team {
 public:
  Team(const Shape& shape, int64_t blocks, bool may_split_rows);
  Share share(int thread);
  // Runs body(share, context) once for each share, each on its own thread.
  void run(void (*body)(Share, void* context), void* context);
  // How many threads it has.
  int size() const { return size_; }

 private:
  int64_t row_boundary(int part, int parts) const;

  const Shape& shape_;
  int size_;
  int groups_;   // of threads; each has its own directions
  int members_;  // threads of a group
  bool splits_rows_;
  Barrier barriers_[kMaxDirections];
};

}  // namespace fastlstm
