// A team of threads that shares one recurrence.
#pragma once
#include "lstm.h"

namespace fastlstm {

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
    int64_t released;  // ns; when it went on from the last meeting, or the team was formed
  };

  alignas(64) int members_ = 1;
  alignas(64) int arrived_ = 0;
  alignas(64) int generation_ = 0;
  int alone_ = 0;    // 1 + the member that asks to go on alone
  int verdict_ = 0;  // alone_, as it was when the last one arrived: the same for all
  MemberTime times_[kMaxMembers];
};

// What one thread does: every step of its directions, for its rows of the batch and its blocks of
// hidden units. Threads that share a direction's rows meet at the barrier after each step.
struct Share {
  int64_t direction_begin, direction_end;
  int64_t row_begin, row_end;
  int64_t block_begin, block_end;
  int64_t blocks;    // of the whole group
  Barrier* barrier;  // null: nobody to wait for
  int member;        // of the group

  // Waits for the group, if there is one. False: another thread does the rest.
  bool meet() {
    if (!barrier) return true;
    const Verdict verdict = barrier->wait(member);
    if (verdict == Verdict::kAlone) {
      block_begin = 0;
      block_end = blocks;
      barrier = nullptr;
    }
    return verdict != Verdict::kLeave;
  }
};

// How a recurrence is split over threads: each direction's rows of the batch, if there are enough
// of them and it is allowed, so that nobody waits for anybody; else its blocks of hidden units.
class Team {
 public:
  Team(const Shape& shape, int64_t blocks, bool may_split_rows);
  Share share(int thread);
  // Runs body(share, context) once for each share, each on its own thread.
  void run(void (*body)(Share, void* context), void* context);
  // Runs body(begin, end, context) over [0, count), split evenly over the threads.
  void split(int64_t count, void (*body)(int64_t begin, int64_t end, void* context), void* context);

 private:
  int64_t row_boundary(int part, int parts) const;

  const Shape& shape_;
  int64_t blocks_;
  int size_;
  int groups_;   // of threads; each has its own directions
  int members_;  // threads of a group
  bool splits_rows_;
  Barrier barriers_[kMaxDirections];
};

}  // namespace fastlstm
