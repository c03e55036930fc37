// The part of OpenMP that the kernels use, on plain threads: unlike libgomp itself it is seen by
// the thread sanitizer. Linked instead of it.
#include <thread>
#include <vector>

namespace {

thread_local int thread_number = 0;
thread_local int team_size = 1;

}  // namespace

extern "C" {

int omp_get_thread_num() { return thread_number; }
int omp_get_num_threads() { return team_size; }

// What `#pragma omp parallel num_threads(threads)` becomes.
void GOMP_parallel(void (*body)(void*), void* data, unsigned threads, unsigned) {
  std::vector<std::thread> team;
  for (unsigned thread = 0; thread < threads; ++thread) {
    team.emplace_back([=] {
      thread_number = static_cast<int>(thread);
      team_size = static_cast<int>(threads);
      body(data);
    });
  }
  for (std::thread& thread : team) thread.join();
}

}  // extern "C"
