// A team of threads that shares one recurrence.
#pragma once
#include "lstm.h"

namespace fastlstm {

// Lets the threads of a group meet once a step: spins shortly, then yields the core.
class Barrier {
 public:
  void reset(int members);
  void wait();

 private:
  alignas(64) int members_ = 1;
  alignas(64) int arrived_ = 0;
  alignas(64) int generation_ = 0;
};

// What one thread does: every step of its directions, for its rows of the batch and its blocks of
// hidden units. Threads that share a direction's rows meet at the barrier after each step.
struct Share {
  int64_t direction_begin, direction_end;
  int64_t row_begin, row_end;
  int64_t block_begin, block_end;
  Barrier* barrier;  // null: nobody to wait for
};

// How a recurrence is split over threads. `blocks` is the number of blocks of hidden units.
class Team {
 public:
  Team(const Shape& shape, int64_t blocks);
  int size() const { return size_; }
  Share share(int thread);
  // Runs body(share, context) once for each share, each on its own thread.
  void run(void (*body)(const Share&, void* context), void* context);
  // Runs body(begin, end, context) over [0, count), split evenly over the threads.
  void split(int64_t count, void (*body)(int64_t begin, int64_t end, void* context), void* context);

 private:
  int64_t row_boundary(int part, int parts) const;

  const Shape& shape_;
  int64_t blocks_;
  int size_;
  int groups_;  // of threads; each has its own directions
  Barrier barriers_[kMaxDirections];
};

}  // namespace fastlstm
