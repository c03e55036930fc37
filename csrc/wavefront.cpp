#include "wavefront.h"

#include <sched.h>

#include "threads.h"

namespace fastlstm {

Wavefront::Wavefront(int64_t layers, int64_t parts) : layers_(layers), parts_(parts) {}

bool Wavefront::is_ready(int64_t layer) const {
  const int64_t part = __atomic_load_n(&of_[layer].done, __ATOMIC_ACQUIRE);
  if (part == parts_) return false;
  if (part == 0 || layer == 0) return true;
  return __atomic_load_n(&of_[layer - 1].done, __ATOMIC_ACQUIRE) > part;
}

bool Wavefront::work_once(void (*body)(int64_t, int64_t, void*), void* context) {
  for (int64_t layer = layers_ - 1; layer >= 0; --layer) {
    Layer& own = of_[layer];
    if (!is_ready(layer) || __atomic_exchange_n(&own.taken, 1, __ATOMIC_ACQUIRE)) continue;
    // Another thread may have done the part meanwhile.
    const bool ready = is_ready(layer);
    if (ready) {
      const int64_t part = own.done;
      body(layer, part, context);
      __atomic_store_n(&own.done, part + 1, __ATOMIC_RELEASE);
    }
    __atomic_store_n(&own.taken, 0, __ATOMIC_RELEASE);
    if (ready) return true;
  }
  return false;
}

void Wavefront::work(void (*body)(int64_t, int64_t, void*), void* context) {
  constexpr int kSpins = 4096;
  int spins = 0;
  while (__atomic_load_n(&of_[layers_ - 1].done, __ATOMIC_ACQUIRE) < parts_) {
    if (work_once(body, context)) {
      spins = 0;
    } else if (++spins < kSpins) {
      pause_cpu();
    } else {
      sched_yield();
    }
  }
}

void Wavefront::run(int threads, void (*body)(int64_t, int64_t, void*),
                    void (*rest)(int, int, void*), void* context) {
  struct Call {
    Wavefront& wavefront;
    void (*body)(int64_t, int64_t, void*);
    void (*rest)(int, int, void*);
    void* context;
  } call{*this, body, rest, context};
  const auto run_thread = [](int thread, int threads, void* context) {
    const Call& call = *static_cast<const Call*>(context);
    call.wavefront.work(call.body, call.context);
    if (call.rest) call.rest(thread, threads, call.context);
  };
  run_on_threads(threads, run_thread, &call);
}

}  // namespace fastlstm
