// Backward (BPTT, Werbos 1990), on a tile: dgates of the step after -> dh -> dgates of this step.

// What arrives at y of row b from outside: dy, and dh_n where the sequence ends.
template <class T>
inline vec arriving(const Backward<T>& f, const Step& step, int64_t b, int64_t column) {
  const Lanes lanes = first_lanes(f.shape.output() - column);
  vec dh = {};
  if (const auto* dy = f.dy(step, b)) dh += T::load(dy + column, lanes);
  if (b < step.surviving) return dh;
  if (const auto* dh_n = f.dh_n(step, b)) dh += T::load(dh_n + column, lanes);
  return dh;
}

// What a tile's product is, and what becomes of it. A panel is a few vectors of columns.
enum class Tile {
  kStep,          // dgates of the step after @ weight_hh -> dgates of this step
  kOutput,        // the same, with a projection: -> dh of y
  kProjection,    // dh of y @ weight_hr -> dgates of this step
  kInitialState,  // dgates of this step @ weight_hh -> dh_0 of sequences that start with it
};

template <Tile kTile>
struct TileOf {};

// What a tile's product is of: rows of a ring, and a packed weight.
template <class T>
struct BackwardOperands {
  const typename T::Element* rows;  // [rows from the first of the step][depth]
  const float* weights;             // [panels][words of depth][up to kColumns][kLanes]
  int64_t depth;
};

template <Tile kTile, class T>
inline BackwardOperands<T> backward_operands(const Backward<T>& f, const BackwardStep& step) {
  const auto& of = f.of[step.direction];
  const bool after = kTile == Tile::kStep || kTile == Tile::kOutput;
  const int64_t ring = after ? step.ring_after : step.ring;
  if (kTile == Tile::kProjection) {
    return {of.dh + ring * f.shape.projection, of.hr, f.shape.projection};
  }
  return {of.dgates + ring * f.columns, of.hh, f.columns};
}

template <Tile kTile, class T, int R>
inline Factor<R> backward_factor(const Backward<T>& f, const BackwardStep& step, int64_t b,
                                 int64_t first) {
  const BackwardOperands<T> of = backward_operands<kTile>(f, step);
  Factor<R> factor;
  for (int r = 0; r < R; ++r) {
    factor.rows[r] = reinterpret_cast<const char*>(of.rows + (b + r) * of.depth);
  }
  set_depth<T>(factor, of.depth);
  factor.weights = of.weights + first * kLanes * words<T>(of.depth);
  return factor;
}

// One vector of the product for row b.
template <Tile kTile, class T>
inline void store_dh(const Backward<T>& f, const BackwardStep& step, int64_t b, int64_t column,
                     vec dh) {
  typedef typename T::Element Element;
  const int64_t size = f.shape.output();
  Element* row;
  dh = dropped_gradient(f, step.direction, b, column, dh);
  if constexpr (kTile == Tile::kOutput) {
    row = f.of[step.direction].dh + (step.ring + b) * size;
    dh += arriving(f, step, b, column);
  } else {
    row = static_cast<Element*>(f.args.dh_0) + step.state(b, size);
    if (f.args.noise.zoneout_h > 0) {
      dh += load(f.dh_kept[step.direction] + b * f.shape.padded() + column);
    }
  }
  T::store(row + column, dh, first_lanes(size - column));
}

// R sequences from b, S panels of C vectors from the vector `first`. `sums` is the product [R][C]
// [kLanes] where it is made in strips, or null.
template <Tile kTile, class T, int R, int C, int S>
void backward_tile(const Backward<T>& f, const BackwardStep& step, int64_t b, int64_t first,
                   const float* sums) {
  constexpr int kAll = R * S * C;
  constexpr bool kCells = kTile == Tile::kStep || kTile == Tile::kProjection;
  CellBack<T> cells[kCells ? kAll : 1];
  for (int n = 0; kCells && n < kAll; ++n) {
    cells[n] = cell_back_at(f, step, b + n % R, first + n / R);
    prefetch_cell(cells[n]);
  }
  vec dh[R][S * C];
  if constexpr (T::kStrips) {
    const float* rows[R];
    for (int r = 0; r < R; ++r) rows[r] = sums + r * C * kLanes;
    load_tile(dh, rows);
  } else {
    Factor<R> factor = backward_factor<kTile, T, R>(f, step, b, first);
    factor.apart = C * kLanes * (factor.depth + factor.half);
    product<T, R, C, S>(dh, &factor, 1);
  }
  if constexpr (kCells) {
    if (f.args.noise.any()) {
#pragma GCC unroll 32
      for (int n = 0; n < kAll; ++n) {
        noisy_cell_back<T>(f, step, b + n % R, first + n / R, dh[n % R][n / R]);
      }
      return;
    }
    constexpr int kAtOnce = kAll % 3 == 0 ? 3 : kAll % 2 == 0 ? 2 : 1;
    for (int n = 0; n < kAll; n += kAtOnce) {
      vec own[kAtOnce];
      int64_t units[kAtOnce];
      CellBack<T> at[kAtOnce];
#pragma GCC unroll 4
      for (int i = 0; i < kAtOnce; ++i) {
        at[i] = cells[n + i];
        own[i] = dh[(n + i) % R][(n + i) / R];
        units[i] = f.shape.hidden - (first + (n + i) / R) * kLanes;
      }
      backward_cells<T, kAtOnce>(at, own, units);
    }
  } else {
    for (int n = 0; n < kAll; ++n) {
      store_dh<kTile>(f, step, b + n % R, (first + n / R) * kLanes, dh[n % R][n / R]);
    }
  }
}

// Tiles over the sequences [begin, end), for the share's panels of `columns` columns.
template <Tile kTile, class T>
void run_tiles(const Backward<T>& f, const BackwardStep& step, const Share& share, int64_t columns,
               int64_t begin, int64_t end) {
  if constexpr (T::kStrips) {
    return run_strips(f, step, share, columns, begin, end, TileOf<kTile>{});
  }
  const Tiles rows({begin, end}, kRows);
  const Tiles panels({0, vectors(columns)}, kColumns);
  const Range own = share.units(panels.count);
  // A lone row has too few sums to hide an addition's latency: it takes two panels at once.
  const bool pairs = rows.count == 1 && rows.size(0) == 1 && panels.end == panels.count * kColumns;
  const Range turns = {0, pairs ? own.size() / 2 : own.size()};
  for (int64_t n = 0; n < turns.size(); ++n) {
    const int64_t turn = in_turn(turns, step.n, n);
    if (pairs) {
      const int64_t first = (own.begin + 2 * turn) * kColumns;
      backward_tile<kTile, T, 1, kColumns, 2>(f, step, begin, first, nullptr);
      continue;
    }
    const int64_t panel = own.begin + turn;
    for (int64_t tile = 0; tile < rows.count; ++tile) {
      with_tile<kRows, kColumns>(rows.size(tile), panels.size(panel), [&](auto r, auto c) {
        backward_tile<kTile, T, decltype(r)::value, decltype(c)::value, 1>(
            f, step, rows.first(tile), panels.first(panel), nullptr);
      });
    }
  }
  if (pairs && own.size() % 2) {
    backward_tile<kTile, T, 1, kColumns, 1>(f, step, begin, (own.end - 1) * kColumns, nullptr);
  }
}
