// Mutexes and fork().
#pragma once
#include <pthread.h>

#include <mutex>

namespace fastlstm {

// From now on a fork waits for `mutex`: a child must not inherit it from a thread that it lacks.
template <std::mutex& mutex>
bool hold_across_forks() {
  return pthread_atfork([] { mutex.lock(); }, [] { mutex.unlock(); }, [] { mutex.unlock(); }) == 0;
}

}  // namespace fastlstm
