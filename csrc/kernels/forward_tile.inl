// Forward, on a tile: the products of some rows with a block of units, the pointwise part on it.

// Where the pointwise part of one row and block reads and writes. Worked out before the product of
// a tile: after it, nothing should stand between its sums and the arithmetic.
template <class T>
struct Cell {
  const float* c_prev;
  float* c;
  typename T::Element* gates;  // or null: not kept
  typename T::Element* h;
  float* wide;  // or null: h is enough
};

template <class T>
inline __attribute__((always_inline)) Cell<T> cell_at(const Forward<T>& f, const Step& step,
                                                      int64_t b, int64_t block) {
  const int64_t unit = block * kLanes;
  Cell<T> cell{f.c_prev(step, b) + unit, f.c_at(step, b) + unit, nullptr, f.hidden(step, b) + unit,
               nullptr};
  if (f.args.c) cell.gates = f.gates(step, b) + Shape::place_of_gates(unit);
  if (f.args.wide && !f.shape.projection) {
    cell.wide = static_cast<float*>(f.args.y) + f.y_at(step, step.row() + b) + unit;
  }
  return cell;
}

// The rows of the pointwise part lie far apart: the hardware does not see them coming.
template <class T>
inline __attribute__((always_inline)) void prefetch_cell(const Cell<T>& cell, const float* add) {
  for (int i = 0; i < kGates * kLanes; i += 16) prefetch(add + i);
  prefetch(cell.c_prev);
  prefetch_for_write(cell.h);
  if (!cell.gates) return;
  prefetch_for_write(cell.c);
  for (int i = 0; i < kGates * kPadding * 4 / T::kPerWord; i += 64) {
    prefetch_for_write(reinterpret_cast<const char*>(cell.gates) + i);
  }
}

// Of the last block: zero for what is kept of padding behind it, which wider vectors would read.
template <class T>
inline void clear_padding(const Cell<T>& cell, int64_t unit) {
  if (!cell.gates) return;
  for (int64_t at = kLanes; (unit + at) % kPadding != 0; at += kLanes) {
    store(cell.c + at, vec{});
    for (int i = 0; i < kGates; ++i) T::store(cell.gates + i * kPadding + at, vec{});
  }
}

// Pre-activations of N rows or blocks -> gates, c, h.
template <class T, int N>
inline __attribute__((always_inline)) void forward_cells(const Cell<T> (&cells)[N],
                                                         vec (&z)[N][kGates], int64_t units,
                                                         bool padded_h) {
  const Lanes lanes = first_lanes(units);
  const bool whole = units >= kLanes;
  vec c[N];
#pragma GCC unroll 8
  for (int n = 0; n < N; ++n) {
    if (!whole) {  // padding stays 0 whatever x is: 0 * Inf would be NaN
      for (int i = 0; i < kGates; ++i) z[n][i] = keep(z[n][i], lanes);
    }
    activate(z[n]);
    c[n] = z[n][1] * load(cells[n].c_prev) + z[n][0] * z[n][2];
    store(cells[n].c, c[n]);
    if (!cells[n].gates) continue;
#pragma GCC unroll 4
    for (int i = 0; i < kGates; ++i) T::store(cells[n].gates + i * kPadding, z[n][i]);
  }
  tanh(c);
#pragma GCC unroll 8
  for (int n = 0; n < N; ++n) {
    const vec h = z[n][3] * c[n];
    if (cells[n].wide) store(cells[n].wide, h, lanes);
    // Before a projection its rows are padded, and are read in whole words.
    if (whole || padded_h) {
      T::store(cells[n].h, h);
    } else {
      T::store(cells[n].h, h, lanes);
    }
  }
}

// The factors of a tile: x with weight_ih, and h_prev with weight_hh; only the latter where x is
// projected before.
template <class T, int R>
inline void forward_factors(const Forward<T>& f, const Step& step, int64_t b, int64_t block,
                            Factor<R> (&factors)[2]) {
  const PackedWeights& weights = f.weights[step.direction];
  for (int r = 0; r < R; ++r) {
    factors[0].rows[r] = reinterpret_cast<const char*>(f.x(step.direction, step.row() + b + r));
    factors[1].rows[r] = reinterpret_cast<const char*>(f.h_prev(step, b + r));
  }
  set_depth<T>(factors[0], f.shape.input);
  set_depth<T>(factors[1], f.shape.output());
  factors[0].apart = words<T>(f.shape.input) * kGates * kLanes;
  factors[1].apart = words<T>(f.shape.output()) * kGates * kLanes;
  factors[0].weights = weights.ih + block * factors[0].apart;
  factors[1].weights = weights.hh + block * factors[1].apart;
}

// R sequences from b, one block of units.
template <class T, int R>
void forward_tile(const Forward<T>& f, const Step& step, const Chunk& chunk, int64_t b,
                  int64_t block) {
  Cell<T> cells[R];
  const float* add[R];
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) {
    add[r] = f.fused ? f.weights[step.direction].bias : f.projected(step, chunk, b + r);
    add[r] += block * kGates * kLanes;
    cells[r] = cell_at(f, step, b + r, block);
    prefetch_cell(cells[r], add[r]);
  }
  Factor<R> factors[2];
  forward_factors<T, R>(f, step, b, block, factors);
  vec z[R][kGates];
  product<T, R, kGates, 1>(z, factors + !f.fused, 1 + f.fused, add);
  const int64_t units = f.shape.hidden - block * kLanes;
  constexpr int kAtOnce = R % 3 == 0 ? 3 : R % 2 == 0 ? 2 : 1;
  for (int n = 0; n < R; n += kAtOnce) {
    vec own[kAtOnce][kGates];
    Cell<T> at[kAtOnce];
#pragma GCC unroll 4
    for (int r = 0; r < kAtOnce; ++r) {
      at[r] = cells[n + r];
#pragma GCC unroll 4
      for (int i = 0; i < kGates; ++i) own[r][i] = z[n + r][i];
    }
    forward_cells<T, kAtOnce>(at, own, units, f.shape.projection > 0);
  }
  for (int r = 0; kLanes < kPadding && units <= kLanes && r < R; ++r) {
    clear_padding(cells[r], block * kLanes);
  }
}

// Pre-activations of a lone sequence, S blocks.
template <class T, int S>
inline void row_gates(const Forward<T>& f, const Step& step, int64_t b, int64_t block, float* z) {
  Factor<1> factors[2];
  forward_factors<T, 1>(f, step, b, block, factors);
  const int64_t at = block * kGates * kLanes;
  const float* add = (f.fused ? f.weights[step.direction].bias : z) + at;
  vec sum[1][S * kGates];
  product<T, 1, kGates, S>(sum, factors + !f.fused, 1 + f.fused, &add);
  for (int i = 0; i < S * kGates; ++i) store(z + at + i * kLanes, sum[0][i]);
}

// The pointwise part of a lone sequence, N blocks.
template <class T, int N>
inline void row_cells(const Forward<T>& f, const Step& step, int64_t b, int64_t block,
                      const float* z) {
  Cell<T> cells[N];
  vec own[N][kGates];
#pragma GCC unroll 4
  for (int n = 0; n < N; ++n) {
    cells[n] = cell_at(f, step, b, block + n);
#pragma GCC unroll 4
    for (int i = 0; i < kGates; ++i) own[n][i] = load(z + ((block + n) * kGates + i) * kLanes);
  }
  const int64_t units = f.shape.hidden - (block + N - 1) * kLanes;
  forward_cells<T, N>(cells, own, units, f.shape.projection > 0);
  if (kLanes < kPadding && units <= kLanes) clear_padding(cells[N - 1], (block + N - 1) * kLanes);
}

// A lone sequence b, the share's blocks. All products come before the pointwise part: so the chains
// of one block run beside those of the others.
template <class T>
void forward_row(const Forward<T>& f, const Step& step, const Chunk& chunk, int64_t b,
                 Range blocks) {
  float* z = f.projected(step, chunk, b);
  const Range pairs = {0, blocks.size() / 2};
  for (int64_t n = 0; n < pairs.size(); ++n) {
    // A row has too few sums to hide an addition's latency: it takes two blocks at once.
    row_gates<T, 2>(f, step, b, blocks.begin + 2 * in_turn(pairs, step.n, n), z);
  }
  if (blocks.size() % 2) row_gates<T, 1>(f, step, b, blocks.end - 1, z);
  // The last block may be padded: it goes alone.
  int64_t block = blocks.begin;
  for (; block + 2 < blocks.end; block += 2) row_cells<T, 2>(f, step, b, block, z);
  for (; block < blocks.end; ++block) row_cells<T, 1>(f, step, b, block, z);
}
