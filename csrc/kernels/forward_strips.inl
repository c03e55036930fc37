// Forward where products are made in strips.

template <class T>
void take_panels(Forward<T>& f, int64_t batch, Arena& arena) {
  const Shape& shape = f.shape;
  const int64_t rows = f.fused ? batch : f.chunk_steps * batch;
  const int64_t depth = shape.projection ? shape.padded() : shape.hidden;
  f.h_panel = panel_size<T>(rows, shape.input);
  f.panel_size = f.h_panel + panel_size<T>(batch, depth);
  f.panels = arena.take<float>(shape.threads * f.panel_size);
  f.places = arena.take<int64_t>(f.fused ? 0 : shape.threads * rows);
}

// The products of a row of panels with a block of units: x with weight_ih, unless it is projected,
// and h_prev with weight_hh. Returns how many.
template <class T>
inline int gate_factors(const Forward<T>& f, const Share& share, int64_t direction, int64_t row,
                        int64_t block, StripFactor (&factors)[2]) {
  const PackedWeights& weights = f.weights[direction];
  float* panel = f.panels + share.thread * f.panel_size;
  int count = 0;
  const auto add = [&](float* rows, const float* of, int64_t depth) {
    factors[count++] = {strip_at<T>(rows, row, depth),
                        of + block * words<T>(depth) * kGates * kLanes, words<T>(depth) / kStrip};
  };
  if (f.fused) add(panel, weights.ih, f.shape.input);
  add(panel + f.h_panel, weights.hh, f.shape.output());
  return count;
}

// Where those products start, for so many rows from b: at the bias, or at what is projected.
// `sums` is used where not all rows of the strips have a start.
template <class T>
inline const float* gate_start(const Forward<T>& f, const Step& step, const Chunk& chunk, int64_t b,
                               int64_t rows, int64_t block, float* sums, int64_t& ld) {
  const int64_t own = kGates * kLanes;
  ld = 0;
  if (f.fused) return f.weights[step.direction].bias + block * own;
  const float* start = f.projected(step, chunk, b) + block * own;
  ld = vectors(f.shape.hidden) * own;
  if (rows % kStrip == 0) return start;
  for (int64_t row = 0; row < rows; ++row) {
    for (int64_t at = 0; at < own; at += kLanes) {
      store(sums + row * own + at, load(start + row * ld + at));
    }
  }
  ld = own;
  return sums;
}

// The rows of a step as they are multiplied.
template <class T>
void fill_panels(const Forward<T>& f, const Step& step, const Share& share, int64_t count) {
  float* panel = f.panels + share.thread * f.panel_size;
  const int64_t begin = share.rows.begin;
  fill_panel<T>(
      count, f.shape.output(), [&](int64_t row) { return f.h_prev(step, begin + row); },
      panel + f.h_panel);
  if (!f.fused) return;
  const auto x = [&](int64_t row) { return f.x(step.direction, step.row() + begin + row); };
  fill_panel<T>(count, f.shape.input, x, panel);
}

// A step, for the share's rows before `row_end` and its units.
template <class T>
void forward_strips(const Forward<T>& f, const Step& step, const Chunk& chunk, const Share& share,
                    int64_t row_end) {
  const int64_t begin = share.rows.begin;
  const int64_t count = row_end - begin;
  const Range blocks = share.units(vectors(f.shape.hidden));
  fill_panels(f, step, share, count);
  if (count == 1) return forward_row(f, step, chunk, begin, blocks, share);
  StripSums sums;
  for (int64_t n = 0; n < blocks.size(); ++n) {
    const int64_t block = in_turn(blocks, step.n, n);
    for (int64_t row = 0; row < count; row += kTwoStrips) {
      const int64_t rows = clip(count - row, 0, kTwoStrips);
      StripFactor factors[2];
      int64_t ld;
      const int products = gate_factors(f, share, step.direction, row, block, factors);
      const float* start = gate_start(f, step, chunk, begin + row, rows, block, sums.at, ld);
      multiply_strips<kGates>(sums.at, rows > kStrip, factors, products, start, ld);
      const Tiles tiles({0, rows}, kRows);
      for (int64_t tile = 0; tile < tiles.count; ++tile) {
        const int64_t first = tiles.first(tile);
        with_tile<kRows, 1>(tiles.size(tile), 1, [&](auto size, auto) {
          forward_tile<T, decltype(size)::value>(f, step, chunk, begin + row + first, block,
                                                 sums.at + first * kGates * kLanes);
        });
      }
    }
  }
}

// Pre-activations of a lone row; `z` has its part of the input where that is projected.
template <class T>
void row_strips(const Forward<T>& f, const Step& step, int64_t b, Range blocks, const Share& share,
                float* z) {
  const int64_t own = kGates * kLanes;
  StripSums sums;
  for (int64_t n = 0; n < blocks.size(); ++n) {
    const int64_t block = in_turn(blocks, step.n, n);
    const float* start = (f.fused ? f.weights[step.direction].bias : z) + block * own;
    StripFactor factors[2];
    const int products = gate_factors(f, share, step.direction, 0, block, factors);
    multiply_strips<kGates>(sums.at, false, factors, products, start, 0);
    for (int64_t at = 0; at < own; at += kLanes) store(z + block * own + at, load(sums.at + at));
  }
}

// The share's rows of a chunk as they are multiplied, and where each stands in gates_x. Returns how
// many.
template <class T>
int64_t fill_input_panel(const Forward<T>& f, int64_t direction, const Chunk& chunk,
                         const Share& share, float* panel, int64_t* places) {
  const Shape& shape = f.shape;
  int64_t count = 0;
  const auto take = [&](int64_t row, int64_t place) {
    places[count] = place;
    fill_row<T>(f.x(direction, row), shape.input, count++, panel);
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
  const int64_t depth = f.shape.input;
  const int64_t pitch = vectors(f.shape.hidden) * own;
  const PackedWeights& weights = f.weights[direction];
  float* panel = f.panels + share.thread * f.panel_size;
  int64_t* places = f.places + share.thread * f.chunk_steps * f.shape.batch;
  const int64_t count = fill_input_panel(f, direction, chunk, share, panel, places);
  const Range blocks = share.units(vectors(f.shape.hidden));
  StripSums sums;
  for (int64_t block = blocks.begin; block < blocks.end; ++block) {
    for (int64_t row = 0; row < count; row += kTwoStrips) {
      const StripFactor factor = {strip_at<T>(panel, row, depth),
                                  weights.ih + block * words<T>(depth) * own,
                                  words<T>(depth) / kStrip};
      multiply_strips<kGates>(sums.at, count - row > kStrip, &factor, 1, weights.bias + block * own,
                              0);
      for (int64_t r = 0; r < kTwoStrips && row + r < count; ++r) {
        float* to = f.gates_x[direction] + places[row + r] * pitch + block * own;
        for (int64_t at = 0; at < own; at += kLanes) store(to + at, load(sums.at + r * own + at));
      }
    }
  }
}

// y of a step from h before its projection.
template <class T>
void output_strips(const Forward<T>& f, const Step& step, const Share& share, int64_t row_end) {
  const int64_t begin = share.rows.begin;
  const int64_t count = row_end - begin;
  const int64_t depth = f.shape.hidden;
  float* panel = f.panels + share.thread * f.panel_size + f.h_panel;
  fill_panel<T>(count, depth, [&](int64_t row) { return f.hidden(step, begin + row); }, panel);
  const Tiles columns({0, vectors(f.shape.projection)}, kColumns);
  const Range own = share.units(columns.count);
  StripSums sums;
  for (int64_t n = own.begin; n < own.end; ++n) {
    const int64_t first = columns.first(n);
    const float* weights = f.weights[step.direction].hr + first * kLanes * words<T>(depth);
    for (int64_t row = 0; row < count; row += kTwoStrips) {
      const StripFactor factor = {strip_at<T>(panel, row, depth), weights,
                                  words<T>(depth) / kStrip};
      with_tile<1, kColumns>(1, columns.size(n), [&](auto, auto width) {
        constexpr int C = decltype(width)::value;
        multiply_strips<C>(sums.at, count - row > kStrip, &factor, 1, kNothing, 0);
        for (int64_t r = 0; r < kTwoStrips && row + r < count; ++r) {
          for (int c = 0; c < C; ++c) {
            const vec y = load(sums.at + (r * C + c) * kLanes);
            store_y(f, step, begin + row + r, (first + c) * kLanes, y);
          }
        }
      });
    }
  }
}
