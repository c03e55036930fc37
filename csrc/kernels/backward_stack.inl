// Backward through a stack, from the last layer to the first: layer after layer, or in wavefront.

// A place for the gradient of a layer's input, which is the y of the layer below. Where places are
// only counted it is not null either: the gradient is wanted.
template <class T>
void* take_input_gradient(const BackwardArgs& args, Arena& arena) {
  const int64_t count = args.shape.offsets[args.shape.steps] * args.shape.input;
  void* place = arena.take<typename T::Element>(count);
  return place ? place : &arena;
}

// Layers are counted here as backward comes to them: the last one is 0.
template <class T>
struct BackwardWave {
  Wavefront front;
  int64_t steps;  // of a part
  int64_t parts;  // with steps, of a layer
  BackwardArgs layers[Wavefront::kMostLayers];
  Arena arenas[Wavefront::kMostLayers];

  BackwardWave(const BackwardArgs* given, int64_t count, Arena& arena)
      : front(count), steps(wavefront_steps(given->shape)), parts(wavefront_parts(given->shape)) {
    for (int64_t l = 0; l < count; ++l) {
      const int64_t index = count - 1 - l;
      layers[l] = given[index];
      layers[l].shape.threads = 1;
      if (l > 0) layers[l].dy = layers[l - 1].dx;
      if (index > 0) {
        layers[l].x = given[index - 1].y;
        layers[l].dx = take_input_gradient<T>(layers[l], arena);
      }
      arenas[l] = arena;
      Backward<T>(layers[l], arena);
    }
  }
};

// The weights' gradients are made by the thread that did the steps: dgates are in that core's
// cache.
template <class T>
void backward_part(int64_t layer, int64_t part, void* context) {
  const BackwardWave<T>& wave = *static_cast<const BackwardWave<T>*>(context);
  Arena arena = wave.arenas[layer];
  const Backward<T> f(wave.layers[layer], arena);
  const Shape& shape = f.shape;
  Share share = all_of(shape);
  if (part == 0) return prepare_backward(f, 0, share);
  const int64_t first = (wave.parts - part) * wave.steps;
  for (int64_t end = clip(first + wave.steps, 0, shape.steps); end > first;) {
    const int64_t chunk_begin = (end - 1) / f.chunk_steps * f.chunk_steps;
    const int64_t begin = chunk_begin > first ? chunk_begin : first;
    prepare_unit<T>(share.rows.size());
    for (int64_t n = end - 1; n >= begin; --n) {
      backward_step(f, BackwardStep(shape, 0, n, f.chunk_steps, f.chunk_rows), share);
    }
    if (f.args.dx) add_input_gradient(f, 0, Chunk(shape, 0, begin, end), share);
    if (begin == chunk_begin) {
      const int64_t chunk_end = clip(begin + f.chunk_steps, 0, shape.steps);
      add_weight_gradients(f, 0, Chunk(shape, 0, begin, chunk_end), share);
    }
    end = begin;
  }
  if (part == wave.parts) finish_backward(f, 0, share);
}

template <class T>
void backward_wave(int thread, int, void* context) {
  const typename T::Unit unit;
  BackwardWave<T>& wave = *static_cast<BackwardWave<T>*>(context);
  wave.front.work(thread, 1 + wave.parts, backward_part<T>, context);
}

template <class T>
void backward_in_wavefront(const BackwardArgs* layers, int64_t count, Arena arena) {
  BackwardWave<T> wave(layers, count, arena);
  run_on_threads(wavefront_threads(layers->shape, count), backward_wave<T>, &wave);
}

// Of two layers that are not at work at a time, dx's memory serves every other one.
template <class T>
void backward_in_turn(const BackwardArgs* layers, int64_t count, Arena arena) {
  void* places[2] = {};
  for (int64_t l = 1; l < count && l < 3; ++l) {
    places[l % 2] = take_input_gradient<T>(layers[l], arena);
  }
  const void* dy = layers[count - 1].dy;
  for (int64_t l = count - 1; l >= 0; --l) {
    BackwardArgs args = layers[l];
    args.dy = dy;
    if (l > 0) {
      args.x = layers[l - 1].y;
      args.dx = places[l % 2];
    }
    dy = args.dx;
    run_backward<T>(args, arena);
  }
}

template <class T>
size_t backward_bytes(const BackwardArgs* layers, int64_t count) {
  Arena arena;
  if (goes_in_wavefront(layers->shape, count)) {
    const BackwardWave<T> wave(layers, count, arena);
    return arena.used();
  }
  size_t most = 0;
  for (int64_t l = 0; l < count; ++l) {
    BackwardArgs args = layers[l];
    Arena own;
    if (l > 0) args.dx = &own;  // as above
    if (l == 1 || l == 2) take_input_gradient<T>(args, arena);
    Backward<T>(args, own);
    most = own.used() > most ? own.used() : most;
  }
  return arena.used() + most;
}

inline size_t backward_workspace(const BackwardArgs* layers, int64_t count) {
  return with_type(layers->type,
                   [&](auto type) { return backward_bytes<decltype(type)>(layers, count); });
}

inline void backward(const BackwardArgs* layers, int64_t count, void* workspace) {
  with_type(layers->type, [&](auto type) {
    if (goes_in_wavefront(layers->shape, count)) {
      backward_in_wavefront<decltype(type)>(layers, count, Arena(workspace));
    } else {
      backward_in_turn<decltype(type)>(layers, count, Arena(workspace));
    }
  });
}
