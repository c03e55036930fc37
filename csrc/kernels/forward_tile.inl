// Forward, on a tile: the products of some rows with a block of units, the pointwise part on it.

// What all tiles of a forward pass share.
template <class T>
struct Forward {
  typedef typename T::Element Element;

  const ForwardArgs& args;
  const Shape& shape;
  bool fused;  // a tile multiplies x itself; else chunks of steps are projected before
  int64_t chunk_steps;
  PackedWeights weights[kMaxDirections];
  float* gates_x[kMaxDirections];  // [rows of a chunk][blocks][4][kLanes]; fused: [B] of them
  float* c[kMaxDirections];        // [B, H']: c_0, then the running state unless args.c keeps it
  Element* h[kMaxDirections];      // wide: [2][B, O], h_0 and then h of even and of odd steps
  Element* m[kMaxDirections];      // [B, H']: h before its projection

  Forward(const ForwardArgs& args, Arena& arena);

  const Element* x(int64_t row) const {
    return static_cast<const Element*>(args.x) + row * shape.input;
  }
  // h of a step as the next one reads it; that is y, unless y is wide.
  Element* y(const Step& step, int64_t b) const {
    if (args.wide) return h[step.direction] + (step.n % 2 * shape.batch + b) * shape.output();
    return static_cast<Element*>(args.y) + step.at(step.row() + b, shape.output());
  }
  const Element* h_prev(const Step& step, int64_t b) const {
    const int64_t size = shape.output();
    if (args.wide) return h[step.direction] + ((step.n + 1) % 2 * shape.batch + b) * size;
    if (b < step.continuing) {
      return static_cast<const Element*>(args.y) + step.at(step.row_before + b, size);
    }
    return static_cast<const Element*>(args.h_0) + step.state(b, size);
  }
  float* c_at(const Step& step, int64_t b) const {
    const int64_t size = shape.padded();
    return args.c ? args.c + step.at(step.row() + b, size) : c[step.direction] + b * size;
  }
  const float* c_prev(const Step& step, int64_t b) const {
    const int64_t size = shape.padded();
    if (args.c && b < step.continuing) return args.c + step.at(step.row_before + b, size);
    return c[step.direction] + b * size;
  }
  Element* gates(const Step& step, int64_t b) const {
    return static_cast<Element*>(args.gates) + step.at(step.row() + b, kGates * shape.padded());
  }
  // Where h goes before its projection; where there is none, that is y.
  Element* hidden(const Step& step, int64_t b) const {
    return shape.projection ? m[step.direction] + b * shape.padded() : y(step, b);
  }
  float* projected(const Step& step, const Chunk& chunk, int64_t b) const {
    const int64_t row = fused ? b : step.row() + b - chunk.row;
    return gates_x[step.direction] + row * vectors(shape.hidden) * kGates * kLanes;
  }
};

// The rows of the pointwise part lie far apart: the hardware does not see them coming.
template <class T, int R>
inline void prefetch_tile(const Forward<T>& f, const Step& step, const Chunk& chunk, int64_t b,
                          int64_t block) {
  const int64_t unit = block * kLanes;
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) {
    if (!f.fused) {
      const float* gates_x = f.projected(step, chunk, b + r) + kGates * unit;
      for (int i = 0; i < kGates * kLanes; i += 16) prefetch(gates_x + i);
    }
    prefetch(f.c_prev(step, b + r) + unit);
    prefetch_for_write(f.hidden(step, b + r) + unit);
    if (!f.args.c) continue;
    prefetch_for_write(f.c_at(step, b + r) + unit);
    for (int i = 0; i < kGates; i += static_cast<int>(64 / sizeof(vec)) * T::kPerWord) {
      prefetch_for_write(f.gates(step, b + r) + (block * kGates + i) * kLanes);
    }
  }
}

// One row, one block: pre-activations -> c; what is left of z for h is o.
template <class T>
inline __attribute__((always_inline)) vec forward_cell(const Forward<T>& f, const Step& step,
                                                       int64_t b, int64_t block, vec (&z)[kGates]) {
  const int64_t unit = block * kLanes;
  if (f.shape.hidden - unit < kLanes) {  // padding stays 0 whatever x is: 0 * Inf would be NaN
    for (int i = 0; i < kGates; ++i) z[i] = keep(z[i], first_lanes(f.shape.hidden - unit));
  }
  activate(z);
  const vec c = z[1] * load(f.c_prev(step, b) + unit) + z[0] * z[2];
  store(f.c_at(step, b) + unit, c);
  if (f.args.c) {
    auto* gates = f.gates(step, b) + block * kGates * kLanes;
#pragma GCC unroll 4
    for (int i = 0; i < kGates; ++i) T::store(gates + i * kLanes, z[i]);
  }
  return c;
}

// Where y is wide.
template <class T>
inline void store_wide(const Forward<T>& f, const Step& step, int64_t b, int64_t column, vec y) {
  const int64_t size = f.shape.output();
  float* to = static_cast<float*>(f.args.y) + step.at(step.row() + b, size);
  store(to + column, y, first_lanes(size - column));
}

template <class T>
inline __attribute__((always_inline)) void store_h(const Forward<T>& f, const Step& step, int64_t b,
                                                   int64_t block, vec h) {
  const int64_t unit = block * kLanes;
  if (f.args.wide && !f.shape.projection) store_wide(f, step, b, unit, h);
  auto* to = f.hidden(step, b) + unit;
  // Before a projection its rows are padded, and are read in whole words.
  if (f.shape.hidden - unit >= kLanes || f.shape.projection) {
    T::store(to, h);
  } else {
    T::store(to, h, first_lanes(f.shape.hidden - unit));
  }
}

// The factors of a tile: h_prev with weight_hh, and x with weight_ih.
template <class T, int R>
inline void forward_factors(const Forward<T>& f, const Step& step, int64_t b, int64_t block,
                            Factor<R> (&factors)[2]) {
  const PackedWeights& weights = f.weights[step.direction];
  for (int r = 0; r < R; ++r) {
    factors[0].rows[r] = reinterpret_cast<const char*>(f.h_prev(step, b + r));
    factors[1].rows[r] = reinterpret_cast<const char*>(f.x(step.row() + b + r));
  }
  set_depth<T>(factors[0], f.shape.output());
  set_depth<T>(factors[1], f.shape.input);
  factors[0].apart = words<T>(f.shape.output()) * kGates * kLanes;
  factors[1].apart = words<T>(f.shape.input) * kGates * kLanes;
  factors[0].weights = weights.hh + block * factors[0].apart;
  factors[1].weights = weights.ih + block * factors[1].apart;
}

// R sequences from b, one block of units.
template <class T, int R>
void forward_tile(const Forward<T>& f, const Step& step, const Chunk& chunk, int64_t b,
                  int64_t block) {
  prefetch_tile<T, R>(f, step, chunk, b, block);
  Factor<R> factors[2];
  forward_factors<T, R>(f, step, b, block, factors);
  vec z[R][kGates];
  product<T, R, kGates, 1>(z, factors, f.fused ? 2 : 1);
  vec c[R];
  vec o[R];
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) {
    const float* add = f.fused ? f.weights[step.direction].bias : f.projected(step, chunk, b + r);
#pragma GCC unroll 4
    for (int i = 0; i < kGates; ++i) z[r][i] += load(add + (block * kGates + i) * kLanes);
    c[r] = forward_cell(f, step, b + r, block, z[r]);
    o[r] = z[r][3];
  }
  constexpr int kAtOnce = R % 3 == 0 ? 3 : R % 2 == 0 ? 2 : 1;
#pragma GCC unroll 8
  for (int r = 0; r < R; r += kAtOnce) {
    vec cs[kAtOnce];
#pragma GCC unroll 4
    for (int i = 0; i < kAtOnce; ++i) cs[i] = c[r + i];
    tanh(cs);
#pragma GCC unroll 4
    for (int i = 0; i < kAtOnce; ++i) store_h(f, step, b + r + i, block, o[r + i] * cs[i]);
  }
}

// Pre-activations of a lone sequence, S blocks.
template <class T, int S>
inline void row_gates(const Forward<T>& f, const Step& step, int64_t b, int64_t block, float* z) {
  Factor<1> factors[2];
  forward_factors<T, 1>(f, step, b, block, factors);
  vec sum[1][S * kGates];
  product<T, 1, kGates, S>(sum, factors, f.fused ? 2 : 1);
  const int64_t at = block * kGates * kLanes;
  const float* add = f.fused ? f.weights[step.direction].bias : z;
  for (int64_t i = 0; i < S * kGates * kLanes; i += kLanes) {
    store(z + at + i, sum[0][i / kLanes] + load(add + at + i));
  }
}

// The pointwise part of a lone sequence, N blocks.
template <class T, int N>
inline __attribute__((always_inline)) void row_cells(const Forward<T>& f, const Step& step,
                                                     int64_t b, int64_t block, const float* z) {
  vec c[N];
  vec o[N];
#pragma GCC unroll 4
  for (int n = 0; n < N; ++n) {
    vec own[kGates];
#pragma GCC unroll 4
    for (int i = 0; i < kGates; ++i) own[i] = load(z + ((block + n) * kGates + i) * kLanes);
    c[n] = forward_cell(f, step, b, block + n, own);
    o[n] = own[3];
  }
  tanh(c);
#pragma GCC unroll 4
  for (int n = 0; n < N; ++n) store_h(f, step, b, block + n, o[n] * c[n]);
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
  int64_t block = blocks.begin;
  for (; block + 2 <= blocks.end; block += 2) row_cells<T, 2>(f, step, b, block, z);
  if (block < blocks.end) row_cells<T, 1>(f, step, b, block, z);
}

// The tile of `rows` sequences, at most R.
template <class T, int R>
void run_forward_tile(int64_t rows, const Forward<T>& f, const Step& step, const Chunk& chunk,
                      int64_t b, int64_t block) {
  if constexpr (R > 1) {
    if (rows < R) return run_forward_tile<T, R - 1>(rows, f, step, chunk, b, block);
  }
  forward_tile<T, R>(f, step, chunk, b, block);
}
