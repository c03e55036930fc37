// Backward where products are made in strips: dh of a step, and dx.

// Rows of dgates that are copied to a panel at once for dx: the weights are read once for them.
constexpr int64_t kInputGradientRows = 128;

template <class T>
void take_panels(Backward<T>& f, int64_t batch, Arena& arena) {
  const int64_t step = Panel<T>::size(batch, f.columns);  // which are at least P
  const int64_t chunk = f.args.dx ? Panel<T>::size(kInputGradientRows, f.columns) : 0;
  f.panel_size = step > chunk ? step : chunk;
  f.panels = arena.take<float>(f.shape.threads * f.panel_size);
  f.sums_size = sums_size(batch);
  f.sums = arena.take<float>(f.shape.threads * f.sums_size);
}

// A panel of columns times some rows of a step, C vectors by `rows`, and what becomes of it.
template <Tile kTile, int C, class T>
inline void backward_tiles(const Backward<T>& f, const BackwardStep& step, int64_t b, int64_t rows,
                           int64_t first, const float* sums) {
  const Tiles tiles({0, rows}, kCellRows);
  for (int64_t tile = 0; tile < tiles.count; ++tile) {
    const int64_t row = tiles.first(tile);
    with_tile<kCellRows, 1>(tiles.size(tile), 1, [&](auto size, auto) {
      backward_tile<kTile, T, decltype(size)::value, C, 1>(f, step, b + row, first,
                                                           sums + row * C * kLanes);
    });
  }
}

// Tiles over the sequences [begin, end), for the share's panels of `columns` columns.
template <Tile kTile, class T>
void run_strips(const Backward<T>& f, const BackwardStep& step, const Share& share, int64_t columns,
                int64_t begin, int64_t end, TileOf<kTile>) {
  const BackwardOperands<T> of = backward_operands<kTile>(f, step);
  const Panel<T> panel = {f.panels + share.thread * f.panel_size, of.depth,
                          strip_rows(share.rows.size())};
  const int64_t rows = end - begin;
  if (rows == 0) return;
  panel.fill(rows, [&](int64_t row) { return of.rows + (begin + row) * of.depth; });
  const Tiles panels({0, vectors(columns)}, kColumns);
  const Range own = share.units(panels.count);
  float* const sums = f.sums + share.thread * f.sums_size;
  const int64_t size = panel.whole(rows) * kColumns * kLanes;
  const int64_t together = f.sums_size / size;
  const auto each = [&](int64_t from, const auto& body) {
    for (int64_t n = from; n < from + together && n < own.size(); ++n) {
      const int64_t turn = in_turn(own, step.n, n);
      with_tile<1, kColumns>(1, panels.size(turn), [&](auto, auto width) {
        body(panels.first(turn), sums + (n - from) * size, width);
      });
    }
  };
  for (int64_t n = 0; n < own.size(); n += together) {
    each(n, [&](int64_t first, float* to, auto width) {
      const float* weights = of.weights + first * kLanes * words<T>(of.depth);
      multiply_panel<decltype(width)::value>(panel, 0, rows, weights, to);
    });
    each(n, [&](int64_t first, const float* from, auto width) {
      backward_tiles<kTile, decltype(width)::value>(f, step, begin, rows, first, from);
    });
  }
}

// dx of the rows [row, row + count) of a chunk, which are in the panel; all columns.
template <class T>
void input_gradient_rows(const Backward<T>& f, int64_t direction, const Chunk& chunk, int64_t row,
                         int64_t count, const Panel<T>& panel, float* sums) {
  const Tiles panels({0, vectors(f.shape.input)}, kColumns);
  for (int64_t n = 0; n < panels.count; ++n) {
    const int64_t first = panels.first(n);
    const float* weights = f.of[direction].ih + first * kLanes * words<T>(f.columns);
    with_tile<1, kColumns>(1, panels.size(n), [&](auto, auto width) {
      constexpr int C = decltype(width)::value;
      multiply_panel<C>(panel, 0, count, weights, sums);
      for (int64_t r = 0; r < count; ++r) {
        for (int c = 0; c < C; ++c) {
          const vec dx = load(sums + (r * C + c) * kLanes);
          store_dx(f, direction, chunk.row + row + r, (first + c) * kLanes, dx);
        }
      }
    });
  }
}

// The share's part of dx of a chunk, or of some steps of one.
template <class T>
void input_gradient_strips(const Backward<T>& f, int64_t direction, const Chunk& chunk,
                           const Share& share) {
  const auto& of = f.of[direction];
  const int64_t ring = ring_of(f, direction, chunk);
  const Panel<T> panel = {f.panels + share.thread * f.panel_size, f.columns};
  const Range strips = share.part((chunk.row_count + kStrip - 1) / kStrip);
  const int64_t end = clip(strips.end * kStrip, 0, chunk.row_count);
  prepare_unit<T>(kStrip);
  for (int64_t row = strips.begin * kStrip; row < end; row += kInputGradientRows) {
    const int64_t count = clip(end - row, 0, kInputGradientRows);
    panel.fill(count, [&](int64_t n) { return of.dgates + (ring + row + n) * f.columns; });
    input_gradient_rows(f, direction, chunk, row, count, panel,
                        f.sums + share.thread * f.sums_size);
  }
}
