// When the layers of a stack run in wavefront, and in which parts. In backward one layer may too:
// its steps are one thread's, its gradients are for all.

// One thread's share of a layer: all of it.
inline Share all_of(const Shape& shape) {
  return {{0, shape.directions}, {0, shape.batch}, true, 0, 0, 1, shape.batch, nullptr};
}

// Below this many multiply-adds in all, waking a second thread is not worth it.
constexpr int64_t kMinWavefrontWork = 400000;

inline int wavefront_threads(const Shape& shape, int64_t count) {
  return threads_allowed(count < shape.threads ? static_cast<int>(count) : shape.threads);
}

// In wavefront each layer has one thread, and nobody waits within a step. It pays where a layer
// leaves its threads idle: where steps are so short that sharing them out costs more than that, or
// where backward has one panel of columns, which is not shared out, and threads are few.
inline bool goes_in_wavefront(const Shape& shape, int64_t count) {
  constexpr int64_t kMostStepWork = 40000;  // multiply-adds
  constexpr int64_t kMostBatch = 8;
  const int64_t step_work = kGates * shape.hidden * shape.output() * shape.batch;
  const bool has_one_panel = vectors(shape.hidden) <= kColumns && shape.threads <= count;
  return count > 1 && count <= Wavefront::kMostLayers && shape.directions == 1 && shape.steps > 1 &&
         shape.batch > 0 && shape.batch < kMostBatch &&
         (step_work <= kMostStepWork || has_one_panel) &&
         step_work * shape.steps * count >= kMinWavefrontWork &&
         wavefront_threads(shape, count) > 1;
}

// Steps of a part: so few that the layer above can soon begin, and so many that x of a part is
// projected in whole tiles.
inline int64_t wavefront_steps(const Shape& shape) {
  constexpr int64_t kParts = 16;
  constexpr int64_t kMinRows = 12;
  const int64_t steps = (shape.steps + kParts - 1) / kParts;
  const int64_t least = (kMinRows + shape.batch - 1) / shape.batch;
  return clip(steps > least ? steps : least, 1, shape.steps);
}

// Parts with steps, of each layer.
inline int64_t wavefront_parts(const Shape& shape) {
  const int64_t steps = wavefront_steps(shape);
  return (shape.steps + steps - 1) / steps;
}
