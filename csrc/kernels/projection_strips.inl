// The products before and after a step where they are made in strips.

// The share's rows of a chunk as they are multiplied, and where each stands in gates_x. Returns how
// many.
template <class T>
int64_t fill_input_panel(const Forward<T>& f, int64_t direction, const Chunk& chunk,
                         const Share& share, const Panel<T>& panel, int64_t* places) {
  const Shape& shape = f.shape;
  int64_t count = 0;
  const auto take = [&](int64_t row, int64_t place) {
    places[count] = place;
    panel.fill_row(count++, f.x(direction, row));
  };
  if (share.rows.size() == shape.batch) {
    for (int64_t row = 0; row < chunk.row_count; ++row) take(chunk.row + row, row);
    return count;
  }
  for (int64_t n = chunk.begin; n < chunk.end; ++n) {
    const int64_t t = Step::time(shape, direction, n);
    const int64_t end = clip(shape.rows(t), share.rows.begin, share.rows.end);
    for (int64_t b = share.rows.begin; b < end; ++b) {
      take(shape.offsets[t] + b, chunk.place(shape, t, b));
    }
  }
  return count;
}

// The input's part of the gates of a chunk, for the share's rows and units.
template <class T>
void project_strips(const Forward<T>& f, int64_t direction, const Chunk& chunk,
                    const Share& share) {
  const int64_t own = kGates * kLanes;
  const int64_t ld = vectors(f.shape.hidden) * own;
  const PackedWeights& weights = f.weights[direction];
  const Panel<T> panel = x_panel(f, share, kStrip);
  int64_t* places = f.places + share.thread * f.chunk_steps * f.shape.batch;
  const int64_t count = fill_input_panel(f, direction, chunk, share, panel, places);
  const Range blocks = share.units(vectors(f.shape.hidden));
  float* const sums = f.sums + share.thread * f.sums_size;
  // Whole strips of rows that stand beside each other go there at once.
  const int64_t whole = share.rows.size() == f.shape.batch ? count / kStrip * kStrip : 0;
  prepare_unit<T>(kStrip);
  for (int64_t block = blocks.begin; block < blocks.end; ++block) {
    const float* const ih = weights.ih + block * words<T>(panel.depth) * own;
    float* const out = f.gates_x[direction] + block * own;
    const auto multiply = [&](const StripSums& to, int64_t row, int64_t rows) {
      const StripFactor factor = panel.times(ih, row);
      multiply_strips<kGates>(to, rows, kStrip, &factor, 1, {weights.bias + block * own, 0});
    };
    for (int64_t row = 0; row < whole; row += 2 * kStrip) {
      multiply({out + row * ld, ld}, row, whole - row);
    }
    for (int64_t row = whole; row < count; row += 2 * kStrip) {
      multiply({sums + (row - whole) * own, own}, row, count - row);
    }
    for (int64_t row = whole; row < count; ++row) {
      copy_gates(sums + (row - whole) * own, out + places[row] * ld);
    }
  }
}

// y of a step from h before its projection.
template <class T>
void output_strips(const Forward<T>& f, const Step& step, const Share& share, int64_t row_end) {
  const int64_t begin = share.rows.begin;
  const int64_t count = row_end - begin;
  const Panel<T> panel = h_panel(f, share, f.shape.hidden);
  float* const sums = f.sums + share.thread * f.sums_size;
  panel.fill(count, [&](int64_t row) { return f.hidden(step, begin + row); });
  const Tiles columns({0, vectors(f.shape.projection)}, kColumns);
  const Range own = share.units(columns.count);
  for (int64_t n = own.begin; n < own.end; ++n) {
    const int64_t first = columns.first(n);
    const float* hr = f.weights[step.direction].hr + first * kLanes * words<T>(panel.depth);
    with_tile<1, kColumns>(1, columns.size(n), [&](auto, auto width) {
      constexpr int C = decltype(width)::value;
      multiply_panel<C>(panel, 0, count, hr, sums);
      for (int64_t row = 0; row < count; ++row) {
        for (int c = 0; c < C; ++c) {
          const vec y = load(sums + (row * C + c) * kLanes);
          store_y(f, step, begin + row, (first + c) * kLanes, y);
        }
      }
    });
  }
}
