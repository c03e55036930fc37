// The gradient of the input, from the dgates of a chunk.

// One vector of dx, of a packed row.
template <class T>
inline void store_dx(const Backward<T>& f, int64_t direction, int64_t row, int64_t column, vec dx) {
  typedef typename T::Element Element;
  float* own = f.of[direction].dx;
  const int64_t to = own ? row : mapped(f.args.x_rows, row);
  const int64_t at = to * f.shape.input + column;
  const Lanes lanes = first_lanes(f.shape.input - column);
  if (own) {
    store(own + at, dx, lanes);
  } else {
    T::store(static_cast<Element*>(f.args.dx) + at, dx, lanes);
  }
}

// dx of the rows of a chunk: R rows of dgates times a panel of C vectors of weight_ih.
template <class T, int R, int C>
void input_gradient_tile(const Backward<T>& f, int64_t direction, int64_t ring, int64_t row,
                         int64_t first) {
  const auto& of = f.of[direction];
  Factor<R> factor;
  for (int r = 0; r < R; ++r) {
    factor.rows[r] = reinterpret_cast<const char*>(of.dgates + (ring + r) * f.columns);
  }
  set_depth<T>(factor, f.columns);
  factor.weights = of.ih + first * kLanes * words<T>(f.columns);
  factor.apart = 0;
  vec sum[R][C];
  product<T, R, C, 1>(sum, &factor, 1);
  for (int r = 0; r < R; ++r) {
    for (int c = 0; c < C; ++c) store_dx(f, direction, row + r, (first + c) * kLanes, sum[r][c]);
  }
}

// The share's part of dx of a chunk, or of some steps of one.
template <class T>
void add_input_gradient(const Backward<T>& f, int64_t direction, const Chunk& chunk,
                        const Share& share) {
  if constexpr (T::kStrips) return input_gradient_strips(f, direction, chunk, share);
  const int64_t ring = ring_of(f, direction, chunk);
  const Tiles panels({0, vectors(f.shape.input)}, kColumns);
  const Tiles rows({0, chunk.row_count}, kRows);
  const Range own = share.part(panels.count * rows.count);
  for (int64_t n = own.begin; n < own.end; ++n) {
    const int64_t panel = n / rows.count;
    const int64_t tile = n % rows.count;
    with_tile<kRows, kColumns>(rows.size(tile), panels.size(panel), [&](auto r, auto c) {
      input_gradient_tile<T, decltype(r)::value, decltype(c)::value>(
          f, direction, ring + rows.first(tile), chunk.row + rows.first(tile), panels.first(panel));
    });
  }
}
