// Forward, on a tile: the products of some rows with a block of units, the pointwise part on it.

// The factors of a tile: x with weight_ih, and h_prev with weight_hh; only the latter where x is
// projected before.
template <class T, int R>
inline void forward_factors(const Forward<T>& f, const Step& step, int64_t b, int64_t block,
                            Factor<R> (&factors)[2]) {
  const PackedWeights& weights = f.weights[step.direction];
  for (int r = 0; r < R; ++r) {
    factors[0].rows[r] = reinterpret_cast<const char*>(f.x(step.direction, step.row() + b + r));
    factors[1].rows[r] = reinterpret_cast<const char*>(f.h_prev(step, b + r));
    if constexpr (T::kInteger) {
      factors[0].units[r] = f.x_units[step.direction][step.row() + b + r];
      factors[1].units[r] = f.h_units[step.direction][b + r];
    }
  }
  set_depth<T>(factors[0], f.shape.input);
  set_depth<T>(factors[1], f.shape.output());
  factors[0].apart = packed_words<T>(f.shape.input) * kGates * kLanes;
  factors[1].apart = packed_words<T>(f.shape.output()) * kGates * kLanes;
  factors[0].weights = weights.ih + block * factors[0].apart;
  factors[1].weights = weights.hh + block * factors[1].apart;
}

// R sequences from b, one block of units. `sums` are their pre-activations [R][4][kLanes] where
// products are made in strips, or null.
template <class T, int R>
void forward_tile(const Forward<T>& f, const Step& step, const Chunk& chunk, int64_t b,
                  int64_t block, const float* sums) {
  Cell<T> cells[R];
  const float* add[R];
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) {
    if constexpr (T::kStrips) {
      add[r] = sums + r * kGates * kLanes;
    } else {
      add[r] = f.fused ? f.weights[step.direction].bias : f.projected(step, chunk, b + r);
      add[r] += block * kGates * kLanes;
    }
    cells[r] = cell_at(f, step, b + r, block);
    prefetch_cell(cells[r], add[r]);
  }
  vec z[R][kGates];
  if constexpr (T::kStrips) {
    load_tile(z, add);
  } else {
    Factor<R> factors[2];
    forward_factors<T, R>(f, step, b, block, factors);
    gate_sums<T, R, 1>(z, factors + !f.fused, 1 + f.fused, add);
  }
  const int64_t units = f.shape.hidden - block * kLanes;
  if constexpr (!T::kInteger) {  // which have no noise
    if (f.args.noise.any()) {
#pragma GCC unroll 8
      for (int r = 0; r < R; ++r) {
        alignas(64) float own[kGates * kLanes];
#pragma GCC unroll 4
        for (int i = 0; i < kGates; ++i) store(own + i * kLanes, z[r][i]);
        noisy_cell(f, step, b + r, block, own);
      }
      return clear_padding(cells, units, block);
    }
  }
  constexpr int kAtOnce = R % 3 == 0 ? 3 : R % 2 == 0 ? 2 : 1;
  for (int n = 0; n < R; n += kAtOnce) {
    vec own[kAtOnce][kGates];
#pragma GCC unroll 4
    for (int r = 0; r < kAtOnce; ++r) {
#pragma GCC unroll 4
      for (int i = 0; i < kGates; ++i) own[r][i] = z[n + r][i];
    }
    forward_cells<T, kAtOnce>(cells + n, own, units, f.shape.projection > 0);
  }
  clear_padding(cells, units, block);
}

// Pre-activations of a lone sequence, S blocks.
template <class T, int S>
inline void row_gates(const Forward<T>& f, const Step& step, int64_t b, int64_t block, float* z) {
  Factor<1> factors[2];
  forward_factors<T, 1>(f, step, b, block, factors);
  const int64_t at = block * kGates * kLanes;
  const float* add = (f.fused ? f.weights[step.direction].bias : z) + at;
  vec sum[1][S * kGates];
  gate_sums<T, 1, S>(sum, factors + !f.fused, 1 + f.fused, &add);
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
  const Cell<T> last[1] = {cells[N - 1]};
  if constexpr (!T::kInteger) {
    if (f.args.noise.any()) {
      for (int n = 0; n < N; ++n) {
        noisy_cell(f, step, b, block + n, z + (block + n) * kGates * kLanes);
      }
      return clear_padding(last, units, block + N - 1);
    }
  }
  forward_cells<T, N>(cells, own, units, f.shape.projection > 0);
  clear_padding(last, units, block + N - 1);
}

// A lone sequence b, the share's blocks. All products come before the pointwise part: so the chains
// of one block run beside those of the others.
template <class T>
void forward_row(const Forward<T>& f, const Step& step, const Chunk& chunk, int64_t b, Range blocks,
                 const Share& share) {
  float* z = f.projected(step, chunk, b);
  if constexpr (T::kStrips) {
    row_strips(f, step, blocks, share, z);
  } else {
    const Range pairs = {0, blocks.size() / 2};
    for (int64_t n = 0; n < pairs.size(); ++n) {
      // A row has too few sums to hide an addition's latency: it takes two blocks at once.
      row_gates<T, 2>(f, step, b, blocks.begin + 2 * in_turn(pairs, step.n, n), z);
    }
    if (blocks.size() % 2) row_gates<T, 1>(f, step, b, blocks.end - 1, z);
  }
  // The last block may be padded: it goes alone.
  int64_t block = blocks.begin;
  for (; block + 2 < blocks.end; block += 2) row_cells<T, 2>(f, step, b, block, z);
  for (; block < blocks.end; ++block) row_cells<T, 1>(f, step, b, block, z);
}
