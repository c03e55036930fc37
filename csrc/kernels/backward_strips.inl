// Backward where products are made in strips: dh of a step, and dx.

// Rows of dgates that are copied to a panel at once for dx: the weights are read once for them.
constexpr int64_t kInputGradientRows = 128;

template <class T>
void take_panels(Backward<T>& f, int64_t batch, Arena& arena) {
  const int64_t step = panel_size<T>(batch, f.columns);
  const int64_t chunk = f.args.dx ? panel_size<T>(kInputGradientRows, f.columns) : 0;
  f.panel_size = step > chunk ? step : chunk;  // columns are at least P
  f.panels = arena.take<float>(f.shape.threads * f.panel_size);
}

// Tiles over the sequences [begin, end), for the share's panels of `columns` columns.
template <Tile kTile, class T>
void run_strips(const Backward<T>& f, const BackwardStep& step, const Share& share, int64_t columns,
                int64_t begin, int64_t end, TileOf<kTile>) {
  const BackwardOperands<T> of = backward_operands<kTile>(f, step);
  float* panel = f.panels + share.thread * f.panel_size;
  fill_panel<T>(
      end - begin, of.depth, [&](int64_t row) { return of.rows + (begin + row) * of.depth; },
      panel);
  const Tiles panels({0, vectors(columns)}, kColumns);
  const Range own = share.units(panels.count);
  StripSums sums;
  for (int64_t n = 0; n < own.size(); ++n) {
    const int64_t turn = in_turn(own, step.n, n);
    const int64_t first = panels.first(turn);
    const float* weights = of.weights + first * kLanes * words<T>(of.depth);
    for (int64_t b = begin; b < end; b += kTwoStrips) {
      const StripFactor factor = {strip_at<T>(panel, b - begin, of.depth), weights,
                                  words<T>(of.depth) / kStrip};
      const Tiles rows({0, clip(end - b, 0, kTwoStrips)}, kRows);
      with_tile<1, kColumns>(1, panels.size(turn), [&](auto, auto width) {
        constexpr int C = decltype(width)::value;
        multiply_strips<C>(sums.at, rows.end > kStrip, &factor, 1, kNothing, 0);
        for (int64_t tile = 0; tile < rows.count; ++tile) {
          with_tile<kRows, 1>(rows.size(tile), 1, [&](auto size, auto) {
            const int64_t row = rows.first(tile);
            backward_tile<kTile, T, decltype(size)::value, C, 1>(f, step, b + row, first,
                                                                 sums.at + row * C * kLanes);
          });
        }
      });
    }
  }
}

// dx of the rows [row, row + count) of a chunk, which are in the panel; all columns.
template <class T>
void input_gradient_rows(const Backward<T>& f, int64_t direction, const Chunk& chunk, int64_t row,
                         int64_t count, float* panel) {
  const Tiles panels({0, vectors(f.shape.input)}, kColumns);
  StripSums sums;
  for (int64_t n = 0; n < panels.count; ++n) {
    const int64_t first = panels.first(n);
    const float* weights = f.of[direction].ih + first * kLanes * words<T>(f.columns);
    for (int64_t at = 0; at < count; at += kTwoStrips) {
      const StripFactor factor = {strip_at<T>(panel, at, f.columns), weights,
                                  words<T>(f.columns) / kStrip};
      with_tile<1, kColumns>(1, panels.size(n), [&](auto, auto width) {
        constexpr int C = decltype(width)::value;
        multiply_strips<C>(sums.at, count - at > kStrip, &factor, 1, kNothing, 0);
        for (int64_t r = 0; r < kTwoStrips && at + r < count; ++r) {
          for (int c = 0; c < C; ++c) {
            const vec dx = load(sums.at + (r * C + c) * kLanes);
            store_dx(f, direction, chunk.row + row + at + r, (first + c) * kLanes, dx);
          }
        }
      });
    }
  }
}

// The share's part of dx of a chunk, or of some steps of one.
template <class T>
void input_gradient_strips(const Backward<T>& f, int64_t direction, const Chunk& chunk,
                           const Share& share) {
  const auto& of = f.of[direction];
  const int64_t ring = ring_of(f, direction, chunk);
  float* panel = f.panels + share.thread * f.panel_size;
  const Range strips = share.part((chunk.row_count + kStrip - 1) / kStrip);
  const int64_t end = clip(strips.end * kStrip, 0, chunk.row_count);
  for (int64_t row = strips.begin * kStrip; row < end; row += kInputGradientRows) {
    const int64_t count = clip(end - row, 0, kInputGradientRows);
    const auto at = [&](int64_t n) { return of.dgates + (ring + row + n) * f.columns; };
    fill_panel<T>(count, f.columns, at, panel);
    input_gradient_rows(f, direction, chunk, row, count, panel);
  }
}
