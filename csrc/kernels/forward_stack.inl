// Forward through a stack: layer after layer, or in wavefront.

// A layer's y where it is not wanted.
template <class T>
void* take_output(const ForwardArgs& args, Arena& arena) {
  const int64_t rows = args.shape.offsets[args.shape.steps] * args.shape.directions;
  const int64_t size = args.wide ? sizeof(float) : sizeof(typename T::Element);
  return arena.take<char>(rows * args.shape.output() * size);
}

template <class T>
struct ForwardWave {
  Wavefront front;
  ForwardArgs layers[Wavefront::kMostLayers];
  int64_t steps;  // of a part
  int64_t parts;  // with steps, of a layer
  Arena arenas[Wavefront::kMostLayers];

  ForwardWave(const ForwardArgs* given, int64_t count, Arena& arena)
      : front(count), steps(wavefront_steps(given->shape)), parts(wavefront_parts(given->shape)) {
    for (int64_t l = 0; l < count; ++l) {
      layers[l] = given[l];
      layers[l].shape.threads = 1;
      if (l > 0) layers[l].x = layers[l - 1].y;
      if (!layers[l].y) layers[l].y = take_output<T>(layers[l], arena);
      arenas[l] = arena;
      Forward<T>(layers[l], steps, arena);
    }
  }
};

template <class T>
void forward_part(int64_t layer, int64_t part, void* context) {
  ForwardWave<T>& wave = *static_cast<ForwardWave<T>*>(context);
  Arena arena = wave.arenas[layer];
  const Forward<T> f(wave.layers[layer], wave.steps, arena);
  const Shape& shape = f.shape;
  Share share = all_of(shape);
  if (part == 0) return prepare_forward(f, 0, share);
  const int64_t last = clip(part * wave.steps, 0, shape.steps);
  for (int64_t begin = (part - 1) * wave.steps; begin < last; begin += f.chunk_steps) {
    const int64_t end = clip(begin + f.chunk_steps, 0, last);
    const Chunk chunk(shape, 0, begin, end);
    take_input(f, 0, {chunk.row, chunk.row + chunk.row_count});
    forward_chunk(f, 0, begin, end, share);
  }
}

template <class T>
void forward_wave(int thread, int, void* context) {
  const typename T::Unit unit;
  ForwardWave<T>& wave = *static_cast<ForwardWave<T>*>(context);
  wave.front.work(thread, 1 + wave.parts, forward_part<T>, context);
}

template <class T>
void forward_in_wavefront(const ForwardArgs* layers, int64_t count, Arena arena) {
  ForwardWave<T> wave(layers, count, arena);
  run_on_threads(wavefront_threads(layers->shape, count), forward_wave<T>, &wave);
}

template <class T>
void run_layer(const ForwardArgs& args, Arena arena) {
  if constexpr (!T::kInteger) {
    if (decodes(args)) return run_decode<T>(args);
  }
  run_forward<T>(args, arena);
}

// Of two layers that are not at work at a time, y's memory serves every other one.
template <class T>
void forward_in_turn(const ForwardArgs* layers, int64_t count, Arena arena) {
  void* places[2] = {};
  for (int64_t l = 0; l < count && l < 2; ++l) {
    if (!layers[l].y) places[l] = take_output<T>(layers[l], arena);
  }
  const void* x = layers->x;
  for (int64_t l = 0; l < count; ++l) {
    ForwardArgs args = layers[l];
    args.x = x;
    if (!args.y) args.y = places[l % 2];
    x = args.y;
    run_layer<T>(args, arena);
  }
}

template <class T>
size_t forward_bytes(const ForwardArgs* layers, int64_t count) {
  Arena arena(nullptr);
  if (goes_in_wavefront(layers->shape, count)) {
    const ForwardWave<T> wave(layers, count, arena);
    return arena.used();
  }
  size_t most = 0;
  for (int64_t l = 0; l < count; ++l) {
    if (l < 2 && !layers[l].y) take_output<T>(layers[l], arena);
    Arena own(nullptr);
    if (!decodes(layers[l])) Forward<T>(layers[l], layers[l].shape.steps, own);
    most = own.used() > most ? own.used() : most;
  }
  return arena.used() + most;
}

inline size_t forward_workspace(const ForwardArgs* layers, int64_t count) {
  return with_forward_type(layers->type,
                           [&](auto type) { return forward_bytes<decltype(type)>(layers, count); });
}

inline bool reads_packed(const ForwardArgs& args) { return !decodes(args); }

inline void forward(const ForwardArgs* layers, int64_t count, void* workspace) {
  with_forward_type(layers->type, [&](auto type) {
    if (goes_in_wavefront(layers->shape, count)) {
      forward_in_wavefront<decltype(type)>(layers, count, Arena(workspace));
    } else {
      forward_in_turn<decltype(type)>(layers, count, Arena(workspace));
    }
  });
}
