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
  int64_t count;
  int64_t steps;  // of a part
  int64_t parts;  // with steps, of a layer
  BackwardArgs layers[Wavefront::kMostLayers];
  Arena arenas[Wavefront::kMostLayers];

  BackwardWave(const BackwardArgs* given, int64_t count, Arena& arena)
      : count(count),
        steps(wavefront_steps(given->shape)),
        parts((given->shape.steps + steps - 1) / steps) {
    for (int64_t l = 0; l < count; ++l) {
      const int64_t index = count - 1 - l;
      layers[l] = given[index];
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

// The steps [begin, end) of a chunk, and the gradients that they end in. Those of the weights from
// the chunk that is done last are for all threads.
template <class T>
void backward_piece(const Backward<T>& f, const Chunk& chunk, int64_t begin, int64_t end,
                    Share& share) {
  for (int64_t n = end - 1; n >= begin; --n) {
    backward_step(f, BackwardStep(f.shape, 0, n, f.chunk_steps, f.chunk_rows), share);
  }
  if (f.args.dx) {
    const Chunk piece(f.shape, 0, begin, end);
    add_input_gradient(f, 0, piece, ring_of(f, chunk) + piece.row - chunk.row, share);
  }
  if (begin == chunk.begin && begin > 0) add_weight_gradients(f, chunk, 0, share);
}

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
    const int64_t begin = (end - 1) / f.chunk_steps * f.chunk_steps;
    const Chunk chunk(shape, 0, begin, clip(begin + f.chunk_steps, 0, shape.steps));
    const int64_t piece = begin > first ? begin : first;
    backward_piece(f, chunk, piece, end, share);
    end = piece;
  }
}

// The weights' gradients from the chunk that was done last, of all layers: a thread's part.
template <class T>
void backward_rest(int thread, int threads, void* context) {
  const BackwardWave<T>& wave = *static_cast<const BackwardWave<T>*>(context);
  for (int64_t layer = 0; layer < wave.count; ++layer) {
    Arena arena = wave.arenas[layer];
    const Backward<T> f(wave.layers[layer], arena);
    Share share = all_of(f.shape);
    share.thread = share.member = thread;
    share.members = threads;
    add_weight_gradients(f, Chunk(f.shape, 0, 0, f.chunk_steps), 0, share);
  }
}

template <class T>
void backward_in_wavefront(const BackwardArgs* layers, int64_t count, Arena arena) {
  BackwardWave<T> wave(layers, count, arena);
  const Shape& shape = layers->shape;
  const int threads = wavefront_threads(shape, count);
  Wavefront(count, 1 + wave.parts).run(threads, backward_part<T>, backward_rest<T>, &wave);
  for (int64_t layer = 0; layer < count; ++layer) {
    Arena own = wave.arenas[layer];
    const Backward<T> f(wave.layers[layer], own);
    Share share = all_of(shape);
    finish_backward(f, 0, share);
  }
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
