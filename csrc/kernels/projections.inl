// The products before and after a step: of the input, for many steps at once, and Sak et al.'s
// projection of h (2014).

// x of R rows times a block of weight_ih, plus the bias.
template <class T, int R>
void input_tile(const Forward<T>& f, int64_t direction, int64_t row, int64_t block, float* out) {
  const PackedWeights& weights = f.weights[direction];
  const int64_t gates = kGates * kLanes;
  Factor<R> factor;
  for (int r = 0; r < R; ++r) {
    factor.rows[r] = reinterpret_cast<const char*>(f.x(direction, row + r));
    if constexpr (T::kInteger) factor.units[r] = f.x_units[direction][row + r];
  }
  set_depth<T>(factor, f.shape.input);
  factor.weights = weights.ih + block * packed_words<T>(f.shape.input) * gates;
  factor.apart = 0;
  const float* bias[R];
  for (int r = 0; r < R; ++r) bias[r] = weights.bias + block * gates;
  vec z[R][kGates];
  gate_sums<T, R, 1>(z, &factor, 1, bias);
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) {
    float* to = out + r * vectors(f.shape.hidden) * gates;
#pragma GCC unroll 4
    for (int i = 0; i < kGates; ++i) {
      store(to + i * kLanes, z[r][i]);
    }
  }
}

// Rows that follow each other, for one block; `place` is where the first stands in the chunk.
template <class T>
void project_rows(const Forward<T>& f, int64_t direction, Range rows, int64_t place,
                  int64_t block) {
  const int64_t gates = vectors(f.shape.hidden) * kGates * kLanes;
  const Tiles tiles(rows, kRows);
  for (int64_t tile = 0; tile < tiles.count; ++tile) {
    const int64_t row = tiles.first(tile);
    const int64_t at = (place + row - rows.begin) * gates + block * kGates * kLanes;
    float* out = f.gates_x[direction] + at;
    with_tile<kRows, 1>(tiles.size(tile), 1, [&](auto rows, auto) {
      input_tile<T, decltype(rows)::value>(f, direction, row, block, out);
    });
  }
}

// The input's part of the gates of a chunk, for the share's rows and units.
template <class T>
void project_input(const Forward<T>& f, int64_t direction, const Chunk& chunk, const Share& share) {
  if constexpr (T::kStrips) return project_strips(f, direction, chunk, share);
  const Shape& shape = f.shape;
  const Range blocks = share.units(vectors(shape.hidden));
  for (int64_t block = blocks.begin; block < blocks.end; ++block) {
    if (share.rows.size() == shape.batch) {
      project_rows(f, direction, {chunk.row, chunk.row + chunk.row_count}, 0, block);
      continue;
    }
    for (int64_t n = chunk.begin; n < chunk.end; ++n) {
      const int64_t t = Step::time(shape, direction, n);
      const int64_t end = clip(shape.rows(t), share.rows.begin, share.rows.end);
      project_rows(f, direction, {shape.offsets[t] + share.rows.begin, shape.offsets[t] + end},
                   chunk.place(shape, t, share.rows.begin), block);
    }
  }
}

// Where y is wide.
template <class T>
inline void store_wide(const Forward<T>& f, const Step& step, int64_t b, int64_t column, vec y) {
  const int64_t size = f.shape.output();
  float* to = static_cast<float*>(f.args.y) + f.y_at(step, step.row() + b);
  store(to + column, y, first_lanes(size - column));
}

// One vector of y, for row b.
template <class T>
inline void store_y(const Forward<T>& f, const Step& step, int64_t b, int64_t column, vec y) {
  T::store(f.y(step, b) + column, y, first_lanes(f.shape.projection - column));
  if (f.args.wide) store_wide(f, step, b, column, y);
  if (f.dropped) drop(f, step, b, column, y);
}

// y = m @ weight_hr^T for R sequences from b, C vectors of y.
template <class T, int R, int C>
void projection_tile(const Forward<T>& f, const Step& step, int64_t b, int64_t first) {
  const Shape& shape = f.shape;
  Factor<R> factor;
  for (int r = 0; r < R; ++r) {
    factor.rows[r] = reinterpret_cast<const char*>(f.hidden(step, b + r));
  }
  set_depth<T>(factor, shape.hidden);
  factor.weights = f.weights[step.direction].hr + first * kLanes * words<T>(shape.hidden);
  factor.apart = 0;
  vec z[R][C];
  product<T, R, C, 1>(z, &factor, 1);
  for (int r = 0; r < R; ++r) {
    for (int c = 0; c < C; ++c) store_y(f, step, b + r, (first + c) * kLanes, z[r][c]);
  }
}

template <class T>
void project_output(const Forward<T>& f, const Step& step, const Share& share, int64_t row_end) {
  if constexpr (T::kStrips) return output_strips(f, step, share, row_end);
  const Tiles rows({share.rows.begin, row_end}, kRows);
  const Tiles panels({0, vectors(f.shape.projection)}, kColumns);
  const Range own = share.units(panels.count);
  for (int64_t panel = own.begin; panel < own.end; ++panel) {
    for (int64_t tile = 0; tile < rows.count; ++tile) {
      with_tile<kRows, kColumns>(rows.size(tile), panels.size(panel), [&](auto r, auto c) {
        projection_tile<T, decltype(r)::value, decltype(c)::value>(f, step, rows.first(tile),
                                                                   panels.first(panel));
      });
    }
  }
}
