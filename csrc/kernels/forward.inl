// Forward: a layer's steps, their tiles in forward_tile.inl.

// Rows of a chunk whose input is projected at once, so that the gates stay in cache.
constexpr int64_t kChunkRows = 384;

// Whether a tile multiplies x with weight_ih itself. A step streams all weights from cache for its
// rows; where they are few, a product over many steps reads the weights less often.
inline bool fuses_input(const Shape& shape, int64_t words) {
  constexpr int64_t kBytesPerRow = 48 << 10;
  constexpr int64_t kBytes = 5 << 19;
  const int64_t bytes = 4 * kGates * shape.hidden * words;
  const int64_t per_row = kBytesPerRow * shape.batch;
  if (shape.steps == 1) return true;
  return shape.batch >= 16 && bytes <= (per_row < kBytes ? per_row : kBytes);
}

template <class T>
void forward_gates(const Forward<T>& f, const Step& step, const Chunk& chunk, const Share& share,
                   int64_t row_end) {
  if constexpr (T::kStrips) return forward_strips(f, step, chunk, share, row_end);
  const Tiles tiles({share.rows.begin, row_end}, kRows);
  const Range blocks = share.units(vectors(f.shape.hidden));
  if (tiles.end - tiles.begin == 1) {
    return forward_row(f, step, chunk, tiles.begin, blocks, share);
  }
  for (int64_t n = 0; n < blocks.size(); ++n) {
    const int64_t block = in_turn(blocks, step.n, n);
    for (int64_t tile = 0; tile < tiles.count; ++tile) {
      with_tile<kRows, 1>(tiles.size(tile), 1, [&](auto rows, auto) {
        constexpr int R = decltype(rows)::value;
        forward_tile<T, R>(f, step, chunk, tiles.first(tile), block, nullptr);
      });
    }
  }
}

// Copies the final states of the sequences [begin, end), which end with this step.
template <class T>
void keep_final_states(const Forward<T>& f, const Step& step, int64_t begin, int64_t end) {
  const Shape& shape = f.shape;
  const ForwardArgs& args = f.args;
  for (int64_t b = begin; b < end; ++b) {
    const int64_t y = f.y_at(step, step.row() + b);
    const int64_t h_n = step.state(b, shape.output());
    for (int64_t j = 0; j < shape.output(); j += kLanes) {
      const Lanes lanes = first_lanes(shape.output() - j);
      store_as<T>(args.wide, args.h_n, h_n + j, load_as<T>(args.wide, args.y, y + j, lanes), lanes);
    }
    const int64_t c_n = step.state(b, shape.hidden);
    for (int64_t j = 0; j < shape.hidden; j += kLanes) {
      store_as<T>(args.wide_c, args.c_n, c_n + j, load(f.c_at(step, b) + j),
                  first_lanes(shape.hidden - j));
    }
  }
}

template <class T>
Forward<T>::Forward(const ForwardArgs& args, int64_t most_chunk_steps, Arena& arena)
    : args(args), shape(args.shape) {
  fused = fuses_input(shape, words<T>(shape.input) + words<T>(shape.output()));
  const int64_t batch = shape.batch > 0 ? shape.batch : 1;
  chunk_steps = clip((kChunkRows + batch - 1) / batch, 1, most_chunk_steps);
  const int64_t gates = vectors(shape.hidden) * kGates * kLanes;
  const int64_t output = args.noise.drops() ? shape.output() : 0;
  const int64_t rows = shape.offsets[shape.steps] * shape.directions;
  Element* const own = arena.take<Element>(args.dropped ? 0 : rows * output);
  dropped = !output ? nullptr : args.dropped ? static_cast<Element*>(args.dropped) : own;
  for (int64_t d = 0; d < shape.directions; ++d) {
    mask[d] = arena.take<float>(batch * output);
    dropped_h_0[d] = arena.take<Element>(batch * output);
    Arena given(const_cast<float*>(args.packed[d]));
    weights[d] = place_weights<T>(shape, args.packed[d] ? given : arena);
    gates_x[d] = arena.take<float>((fused ? 1 : chunk_steps) * batch * gates);
    c[d] = arena.take<float>(batch * shape.padded());
    m[d] = arena.take<Element>(shape.projection ? batch * shape.padded() : 0);
    const int64_t x_rows = args.wide ? shape.offsets[shape.steps] : 0;
    h[d] = arena.take<Element>(args.wide ? 2 * batch * row_size<T>(shape.output()) : 0);
    input[d] = arena.take<Element>(x_rows * row_size<T>(shape.input));
    h_units[d] = arena.take<float>(T::kInteger ? batch : 0);
    x_units[d] = arena.take<float>(T::kInteger ? x_rows : 0);
  }
  if constexpr (T::kStrips) take_panels(*this, batch, arena);
}

// Where x is wide: some of its rows in the type, in packed order.
template <class T>
void take_input(const Forward<T>& f, int64_t direction, Range rows) {
  if (!f.args.wide) return;
  const int64_t size = f.shape.input;
  if constexpr (T::kInteger) return take_integers(f, direction, rows);
  const int64_t together = f.args.x_rows ? 1 : rows.size();
  for (int64_t row = rows.begin; row < rows.end; row += together) {
    const float* x = static_cast<const float*>(f.args.x) + mapped(f.args.x_rows, row) * size;
    typename T::Element* to = f.input[direction] + row * size;
    for (int64_t at = 0; at < together * size; at += kLanes) {
      const Lanes lanes = first_lanes(together * size - at);
      T::store(to + at, load(x + at, lanes), lanes);
    }
  }
}

// h_0 of row b, where it is not of the type, or is dropped.
template <class T>
void begin_h(const Forward<T>& f, int64_t direction, int64_t b) {
  const int64_t size = f.shape.output();
  const int64_t row = direction * f.shape.batch + b;
  if (f.dropped) begin_dropout<T>(f, direction, b, f.args.wide, f.args.h_0);
  for (int64_t j = 0; f.args.wide && j < size; j += kLanes) {
    const Lanes lanes = first_lanes(size - j);
    const vec h_0 = load_as<T>(true, f.args.h_0, row * size + j, lanes);
    for (int64_t slot = 0; slot < 2; ++slot) {
      T::store(f.h[direction] + (slot * f.shape.batch + b) * size + j, h_0, lanes);
    }
  }
}

// c_0 of the share's rows, padded with zeros; and h_0, as the gates read it.
template <class T>
void begin_states(const Forward<T>& f, int64_t direction, Range rows) {
  const Shape& shape = f.shape;
  for (int64_t b = rows.begin; b < rows.end; ++b) {
    const int64_t row = direction * shape.batch + b;
    float* c = f.c[direction] + b * shape.padded();
    for (int64_t j = 0; j < shape.padded(); j += kLanes) {
      const Lanes lanes = first_lanes(clip(shape.hidden - j, 0, kLanes));
      store(c + j, load_as<T>(f.args.wide_c, f.args.c_0, row * shape.hidden + j, lanes));
    }
    if constexpr (T::kInteger) {
      begin_integers(f, direction, b);
    } else {
      begin_h(f, direction, b);
    }
  }
}

// A share's part of what comes before a direction's first step.
template <class T>
void prepare_forward(const Forward<T>& f, int64_t d, const Share& share) {
  begin_states(f, d, share.own_rows());
  if constexpr (!T::kInteger) {  // whose weights come packed
    if (!f.args.packed[d]) pack_share<T>(f.shape, f.args.weights[d], f.weights[d], share);
  }
}

// The steps [begin, end), of one chunk. False: another thread does the rest.
template <class T>
bool forward_chunk(const Forward<T>& f, int64_t direction, int64_t begin, int64_t end,
                   Share& share) {
  const Shape& shape = f.shape;
  Chunk chunk(shape, direction, begin, end);
  // A thread that is a chunk ahead must not write where another one's rows still stand.
  chunk.apart = share.rows.size() < shape.batch;
  if (!f.fused) project_input(f, direction, chunk, share);
  prepare_unit<T>(share.rows.size());
  for (int64_t n = begin; n < end; ++n) {
    const Step step(shape, direction, n);
    const int64_t row_end = clip(step.rows(), share.rows.begin, share.rows.end);
    forward_gates(f, step, chunk, share, row_end);
    if constexpr (!T::kInteger) {  // whose layers have no projection
      if (shape.projection) {
        if (!share.meet_in_step()) return false;
        project_output(f, step, share, row_end);
      }
    }
    if (!share.meet_in_step()) return false;
    if (share.member == 0 || share.splits_rows) {
      const int64_t ending = clip(step.surviving, share.rows.begin, row_end);
      keep_final_states(f, step, ending, row_end);
    }
  }
  return true;
}

template <class T>
void forward_share(Share share, void* context) {
  const typename T::Unit unit;
  const Forward<T>& f = *static_cast<const Forward<T>*>(context);
  const int64_t rows = f.shape.offsets[f.shape.steps];
  for (int64_t d = share.directions.begin; d < share.directions.end; ++d) {
    take_input(f, d, share.part(rows));
    prepare_forward(f, d, share);
    if (!share.meet()) return;
    for (int64_t begin = 0; begin < f.shape.steps; begin += f.chunk_steps) {
      const int64_t end = clip(begin + f.chunk_steps, 0, f.shape.steps);
      if (!forward_chunk(f, d, begin, end, share)) return;
    }
  }
}

// A thread with some rows of the batch reads all weights each step; one with some of the units
// reads only theirs, but meets the others. Beyond a size that stays in a core's own cache the
// latter is 1.05-1.15x faster; not so in backward, where a block is four times as wide.
constexpr int64_t kNearFloats = 150000;

template <class T>
void run_forward(const ForwardArgs& args, Arena arena) {
  Forward<T> f(args, args.shape.steps, arena);
  const int64_t depth = words<T>(args.shape.output()) + (f.fused ? words<T>(args.shape.input) : 0);
  const int64_t blocks = vectors(args.shape.hidden);
  Team team(args.shape, blocks, blocks * kGates * kLanes * depth <= kNearFloats);
  team.run(forward_share<T>, &f);
}
