// Backward (BPTT, Werbos 1990), on a tile: dgates of the step after -> dh -> dgates of this step.

// Where sums of the weights' gradients go.
struct WeightSums {
  float* ih;    // [4H, I]
  float* hh;    // [4H, O]
  float* bias;  // [4H], or null
  float* hr;    // [P, H], or null
};

// What all tiles of a backward pass share. Rings hold the rows of two chunks of steps: the one
// under way, and the one before it, of whose last step dgates are still needed.
template <class T>
struct Backward {
  typedef typename T::Element Element;

  const BackwardArgs& args;
  const Shape& shape;
  int64_t chunk_steps;
  int64_t chunk_rows;  // at most
  int64_t columns;     // of a row of dgates: [blocks][4][kLanes]

  struct Direction {
    float* hh;        // weight_hh [panels of O][words of columns][up to kColumns][kLanes]
    float* ih;        // weight_ih [panels of I][words of columns][up to kColumns][kLanes]
    float* hr;        // weight_hr [panels of H][words of P][up to kColumns][kLanes]
    Element* dgates;  // [2][chunk_rows][columns]
    Element* dh;      // [2][chunk_rows][P], with a projection: of y
    Element* m;       // [2][chunk_rows][H'], with a projection: h before it
    float* dc;        // [B, H']: running
    float* c_0;       // [B, H']
    float* dx;        // [N, I], or null: into args.dx at once
    WeightSums sums;
  } of[kMaxDirections];
  float* scratch;  // [threads][scratch_size]: see gradients.inl
  int64_t scratch_size;
  const Element** h_prev;  // [threads][chunk_rows]: addresses of the rows

  Backward(const BackwardArgs& args, Arena& arena);

  const Element* gates(const Step& step, int64_t b) const {
    return static_cast<const Element*>(args.gates) +
           step.at(step.row() + b, kGates * shape.padded());
  }
  const float* c(const Step& step, int64_t b) const {
    return args.c + step.at(step.row() + b, shape.padded());
  }
  const float* c_prev(const Step& step, int64_t b) const {
    return b < step.continuing ? args.c + step.at(step.row_before + b, shape.padded())
                               : of[step.direction].c_0 + b * shape.padded();
  }
  float* dc(const Step& step, int64_t b) const {
    return of[step.direction].dc + b * shape.padded();
  }
  const Element* dy(const Step& step, int64_t b) const {
    return args.dy ? static_cast<const Element*>(args.dy) + step.at(step.row() + b, shape.output())
                   : nullptr;
  }
  const Element* dh_n(const Step& step, int64_t b) const {
    return args.dh_n ? static_cast<const Element*>(args.dh_n) + step.state(b, shape.output())
                     : nullptr;
  }
};

// A step, and where its rows and those of the step after begin in the rings.
struct BackwardStep : Step {
  int64_t ring;
  int64_t ring_after;

  BackwardStep(const Shape& shape, int64_t direction, int64_t n, int64_t chunk_steps,
               int64_t chunk_rows)
      : Step(shape, direction, n),
        ring(in_ring(n, row(), chunk_steps, chunk_rows)),
        ring_after(n + 1 < shape.steps ? in_ring(n + 1, row_after, chunk_steps, chunk_rows) : 0) {}

 private:
  int64_t in_ring(int64_t n, int64_t row, int64_t chunk_steps, int64_t chunk_rows) const {
    const int64_t index = n / chunk_steps;
    const int64_t end = clip((index + 1) * chunk_steps, 0, shape.steps);
    const Chunk chunk(shape, direction, index * chunk_steps, end);
    return index % 2 * chunk_rows + row - chunk.row;
  }
};

// Where the pointwise part of one row and vector of units reads and writes, worked out before the
// product of a tile.
template <class T>
struct CellBack {
  const typename T::Element* gates;
  const float* c;
  const float* c_prev;
  float* dc;
  typename T::Element* dgates;
  typename T::Element* m;           // or null: no projection
  const typename T::Element* dy;    // or null
  const typename T::Element* dh_n;  // or null
};

template <class T>
inline __attribute__((always_inline)) CellBack<T> cell_back_at(const Backward<T>& f,
                                                               const BackwardStep& step, int64_t b,
                                                               int64_t block) {
  const auto& of = f.of[step.direction];
  const int64_t unit = block * kLanes;
  CellBack<T> cell{f.gates(step, b) + kGates * unit,
                   f.c(step, b) + unit,
                   f.c_prev(step, b) + unit,
                   f.dc(step, b) + unit,
                   of.dgates + (step.ring + b) * f.columns + kGates * unit,
                   nullptr,
                   nullptr,
                   nullptr};
  if (f.shape.projection) {
    cell.m = of.m + (step.ring + b) * f.shape.padded() + unit;
  } else {
    if (f.args.dy) cell.dy = f.dy(step, b) + unit;
    if (f.args.dh_n && b >= step.surviving) cell.dh_n = f.dh_n(step, b) + unit;
  }
  return cell;
}

// The rows of the pointwise part lie far apart: the hardware does not see them coming.
template <class T>
inline __attribute__((always_inline)) void prefetch_cell(const CellBack<T>& cell) {
  for (int i = 0; i < kGates * kLanes * 4 / T::kPerWord; i += 64) {
    prefetch(reinterpret_cast<const char*>(cell.gates) + i);
  }
  prefetch(cell.c);
  prefetch(cell.c_prev);
  prefetch_for_write(cell.dc);
  if (cell.dy) prefetch(cell.dy);
}

// dh of h before any projection, of N rows or vectors -> dgates, and dc of the step before.
template <class T, int N>
inline __attribute__((always_inline)) void backward_cells(const CellBack<T> (&cells)[N],
                                                          vec (&dh)[N], const int64_t (&units)[N]) {
  vec tanh_c[N];
#pragma GCC unroll 4
  for (int n = 0; n < N; ++n) tanh_c[n] = load(cells[n].c);
  tanh(tanh_c);
#pragma GCC unroll 4
  for (int n = 0; n < N; ++n) {
    const CellBack<T>& at = cells[n];
    if (units[n] >= kLanes) {
      if (at.dy) dh[n] += T::load(at.dy);
      if (at.dh_n) dh[n] += T::load(at.dh_n);
    } else {  // padding stays 0, though Inf arrives: 0 * Inf would be NaN
      const Lanes lanes = first_lanes(units[n]);
      if (at.dy) dh[n] += T::load(at.dy, lanes);
      if (at.dh_n) dh[n] += T::load(at.dh_n, lanes);
      dh[n] = keep(dh[n], lanes);
    }
    vec a[kGates];
#pragma GCC unroll 4
    for (int i = 0; i < kGates; ++i) a[i] = T::load(at.gates + i * kLanes);
    const CellGradient d = cell_backward(a, tanh_c[n], load(at.c_prev), dh[n], load(at.dc));
    store(at.dc, d.dc_prev);
#pragma GCC unroll 4
    for (int i = 0; i < kGates; ++i) T::store(at.dgates + i * kLanes, d.dgates[i]);
    if (at.m) T::store(at.m, a[3] * tanh_c[n]);
  }
}

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

template <Tile kTile, class T, int R>
inline Factor<R> backward_factor(const Backward<T>& f, const BackwardStep& step, int64_t b,
                                 int64_t first) {
  typedef typename T::Element Element;
  const auto& of = f.of[step.direction];
  const bool from_dh = kTile == Tile::kProjection;
  const int64_t depth = from_dh ? f.shape.projection : f.columns;
  const Element* rows = from_dh ? of.dh : of.dgates;
  const bool after = kTile == Tile::kStep || kTile == Tile::kOutput;
  Factor<R> factor;
  for (int r = 0; r < R; ++r) {
    const int64_t row = (after ? step.ring_after : step.ring) + b + r;
    factor.rows[r] = reinterpret_cast<const char*>(rows + row * depth);
  }
  set_depth<T>(factor, depth);
  factor.weights = (from_dh ? of.hr : of.hh) + first * kLanes * words<T>(depth);
  return factor;
}

// One vector of the product for row b.
template <Tile kTile, class T>
inline void store_dh(const Backward<T>& f, const BackwardStep& step, int64_t b, int64_t column,
                     vec dh) {
  typedef typename T::Element Element;
  const int64_t size = f.shape.output();
  Element* row;
  if constexpr (kTile == Tile::kOutput) {
    row = f.of[step.direction].dh + (step.ring + b) * size;
    dh += arriving(f, step, b, column);
  } else {
    row = static_cast<Element*>(f.args.dh_0) + step.state(b, size);
  }
  T::store(row + column, dh, first_lanes(size - column));
}

// R sequences from b, S panels of C vectors from the vector `first`.
template <Tile kTile, class T, int R, int C, int S>
void backward_tile(const Backward<T>& f, const BackwardStep& step, int64_t b, int64_t first) {
  constexpr int kAll = R * S * C;
  constexpr bool kCells = kTile == Tile::kStep || kTile == Tile::kProjection;
  CellBack<T> cells[kCells ? kAll : 1];
  for (int n = 0; kCells && n < kAll; ++n) {
    cells[n] = cell_back_at(f, step, b + n % R, first + n / R);
    prefetch_cell(cells[n]);
  }
  Factor<R> factor = backward_factor<kTile, T, R>(f, step, b, first);
  factor.apart = C * kLanes * (factor.depth + factor.half);
  vec dh[R][S * C];
  product<T, R, C, S>(dh, &factor, 1);
  if constexpr (kCells) {
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

// The tile of `rows` sequences, at most R, and `columns` vectors, at most C.
template <Tile kTile, class T, int R, int C>
void run_backward_tile(int64_t rows, int64_t columns, const Backward<T>& f,
                       const BackwardStep& step, int64_t b, int64_t first) {
  if constexpr (R > 1) {
    if (rows < R) {
      return run_backward_tile<kTile, T, R - 1, C>(rows, columns, f, step, b, first);
    }
  }
  if constexpr (C > 1) {
    if (columns < C) {
      return run_backward_tile<kTile, T, R, C - 1>(rows, columns, f, step, b, first);
    }
  }
  backward_tile<kTile, T, R, C, 1>(f, step, b, first);
}

// Tiles over the sequences [begin, end), for the share's panels of `columns` columns.
template <Tile kTile, class T>
void run_tiles(const Backward<T>& f, const BackwardStep& step, const Share& share, int64_t columns,
               int64_t begin, int64_t end) {
  const Tiles rows({begin, end}, kRows);
  const Tiles panels({0, vectors(columns)}, kColumns);
  const Range own = share.units(panels.count);
  // A lone row has too few sums to hide an addition's latency: it takes two panels at once.
  const bool pairs = rows.count == 1 && rows.size(0) == 1 && panels.end == panels.count * kColumns;
  const Range turns = {0, pairs ? own.size() / 2 : own.size()};
  for (int64_t n = 0; n < turns.size(); ++n) {
    const int64_t turn = in_turn(turns, step.n, n);
    if (pairs) {
      backward_tile<kTile, T, 1, kColumns, 2>(f, step, begin, (own.begin + 2 * turn) * kColumns);
      continue;
    }
    const int64_t panel = own.begin + turn;
    for (int64_t tile = 0; tile < rows.count; ++tile) {
      run_backward_tile<kTile, T, kRows, kColumns>(rows.size(tile), panels.size(panel), f, step,
                                                   rows.first(tile), panels.first(panel));
    }
  }
  if (pairs && own.size() % 2) {
    backward_tile<kTile, T, 1, kColumns, 1>(f, step, begin, (own.end - 1) * kColumns);
  }
}
