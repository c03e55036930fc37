#include "wavefront.h"

#include <sched.h>

#include "threads.h"

namespace fastlstm {
namespace {

// Spins shortly and then yields: the thread that is waited for may have lost its core.
class Patience {
 public:
  void wait() {
    constexpr int kSpins = 4096;
    if (++spins_ < kSpins) {
      pause_cpu();
    } else {
      sched_yield();
    }
  }
  void renew() { spins_ = 0; }

 private:
  int spins_ = 0;
};

}  // namespace

// How often a thread has found the same layer ready, and nobody at work on it.
class Looks {
 public:
  // Whether it is left lying; between two parts a thread lets go of a layer for a moment only.
  bool is_left(int64_t layer, int64_t part) {
    constexpr int kLooks = 32;
    if (layer != layer_ || part != part_) count_ = 0;
    layer_ = layer;
    part_ = part;
    return ++count_ > kLooks;
  }

 private:
  int64_t layer_ = -1;
  int64_t part_ = -1;
  int count_ = 0;
};

Wavefront::Wavefront(int64_t layers) : layers_(layers) {}

bool Wavefront::is_ready(int64_t layer, int64_t parts) const {
  const int64_t part = __atomic_load_n(&of_[layer].done, __ATOMIC_ACQUIRE);
  if (part >= parts) return false;
  if (part == 0 || layer == 0) return true;
  return __atomic_load_n(&of_[layer - 1].done, __ATOMIC_ACQUIRE) > part;
}

int64_t Wavefront::find(int thread, int64_t parts, Looks& looks) const {
  bool looked = false;  // at one: to look at several in turn would never end
  for (int64_t layer = layers_ - 1; layer >= 0; --layer) {
    const Layer& other = of_[layer];
    if (__atomic_load_n(&other.taken, __ATOMIC_RELAXED) || !is_ready(layer, parts)) continue;
    const int owner = __atomic_load_n(&other.owner, __ATOMIC_RELAXED);
    if (owner < 0 || owner == thread) return layer;
    if (looked) continue;
    looked = true;
    if (looks.is_left(layer, __atomic_load_n(&other.done, __ATOMIC_RELAXED))) return layer;
  }
  return -1;
}

void Wavefront::work(int thread, int64_t parts, void (*body)(int64_t, int64_t, void*),
                     void* context) {
  Patience patience;
  Looks looks;
  while (__atomic_load_n(&of_[layers_ - 1].done, __ATOMIC_ACQUIRE) < parts) {
    const int64_t found = find(thread, parts, looks);
    if (found < 0 || __atomic_exchange_n(&of_[found].taken, 1, __ATOMIC_ACQUIRE)) {
      patience.wait();
      continue;
    }
    Layer& layer = of_[found];
    if (is_ready(found, parts)) {  // another thread may have done the part meanwhile
      __atomic_store_n(&layer.owner, thread, __ATOMIC_RELAXED);
      const int64_t part = layer.done;
      body(found, part, context);
      __atomic_store_n(&layer.done, part + 1, __ATOMIC_RELEASE);
    }
    __atomic_store_n(&layer.taken, 0, __ATOMIC_RELEASE);
    patience.renew();
  }
}

}  // namespace fastlstm
