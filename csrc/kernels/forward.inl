// Forward: x_t @ W_ih^T + h_{t-1} @ W_hh^T on register tiles, the pointwise part on the tile.

struct ForwardStep : Step {
  const ForwardArgs& args;

  ForwardStep(const ForwardArgs& args, int64_t direction, int64_t n)
      : Step(args.shape, direction, n), args(args) {}

  // Of sequence b, [I], [H] or [4H].
  const float* x(int64_t b) const { return args.x + (row() + b) * args.input; }
  const float* h_prev(int64_t b) const {
    return b < continuing ? args.y + at(row_before + b) : args.h_0 + state(b);
  }
  const float* c_prev(int64_t b) const {
    if (!args.c) return args.c_n + state(b);  // the running state
    return b < continuing ? args.c + at(row_before + b) : args.c_0 + state(b);
  }
  float* c(int64_t b) const { return args.c ? args.c + at(row() + b) : args.c_n + state(b); }
  float* y(int64_t b) const { return args.y + at(row() + b); }
  float* gates(int64_t b) const { return args.gates + kGates * at(row() + b); }
};

// The pointwise part's rows lie far apart: the hardware does not see them coming.
inline void prefetch_rows(const ForwardStep& step, int64_t b, int64_t rows, int64_t unit) {
  const int64_t hidden = step.shape.hidden;
  const bool gates = step.args.c || !step.args.x;
  for (int64_t r = b; r < b + rows; ++r) {
    for (int64_t gate = 0; gates && gate < kGates; ++gate) {
      prefetch(step.gates(r) + gate * hidden + unit);
    }
    prefetch(step.c_prev(r) + unit);
    if (step.args.c) prefetch_for_write(step.c(r) + unit);
    prefetch_for_write(step.y(r) + unit);
  }
}

// Adds the input's and the recurrent part of the pre-activations of R sequences from b.
template <int R>
void add_gates(vec (&z)[R][kGates], const ForwardStep& step, int64_t b, int64_t unit, Lanes lanes,
               const float* packed) {
  const int64_t hidden = step.shape.hidden;
  const float* rows[R];
  if (step.args.weight_hh[0]) {
    for (int r = 0; r < R; ++r) rows[r] = step.h_prev(b + r);
    add_product<R, kGates>(z, rows, hidden, packed);
  }
  if (step.args.x) {
    for (int r = 0; r < R; ++r) rows[r] = step.x(b + r);
    add_product<R, kGates>(z, rows, step.args.input, packed + hidden * kGates * kLanes);
  } else {
    for (int r = 0; r < R; ++r) {
      const float* gates_x = step.gates(b + r) + unit;
      for (int gate = 0; gate < kGates; ++gate) z[r][gate] += load(gates_x + gate * hidden, lanes);
    }
  }
}

// R sequences from b, one vector of hidden units from `unit`.
template <int R>
void forward_tile(const ForwardStep& step, int64_t b, int64_t unit, const float* packed) {
  const int64_t hidden = step.shape.hidden;
  const Lanes lanes = first_lanes(hidden - unit);
  prefetch_rows(step, b, R, unit);
  vec bias[kGates] = {};
  if (const float* all = step.args.bias[step.direction]) {
    for (int gate = 0; gate < kGates; ++gate) bias[gate] = load(all + gate * hidden + unit, lanes);
  }
  vec z[R][kGates];
  for (int r = 0; r < R; ++r) {
    for (int gate = 0; gate < kGates; ++gate) z[r][gate] = bias[gate];
  }
  add_gates<R>(z, step, b, unit, lanes, packed);
  vec c[R];
  vec o[R];
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) {
    float* gates = step.gates(b + r) + unit;
    const Gates a = activate({z[r][0], z[r][1], z[r][2], z[r][3]});
    c[r] = a.f * load(step.c_prev(b + r) + unit, lanes) + a.i * a.g;
    o[r] = a.o;
    store(step.c(b + r) + unit, c[r], lanes);
    if (step.args.c) {
      store(gates, a.i, lanes);
      store(gates + hidden, a.f, lanes);
      store(gates + 2 * hidden, a.g, lanes);
      store(gates + 3 * hidden, a.o, lanes);
    }
  }
  // Apart from the loop above: the rows' chains of dependent operations overlap.
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) store(step.y(b + r) + unit, o[r] * tanh(c[r]), lanes);
}

// The tile of `rows` sequences, at most R.
template <int R>
void run_forward_tile(int64_t rows, const ForwardStep& step, int64_t b, int64_t unit,
                      const float* packed) {
  if constexpr (R > 1) {
    if (rows < R) return run_forward_tile<R - 1>(rows, step, b, unit, packed);
  }
  forward_tile<R>(step, b, unit, packed);
}

// Copies the final states of the sequences that end with this step, for the share's units.
void keep_final_states(const ForwardStep& step, const Share& share, int64_t begin, int64_t end) {
  const int64_t unit = share.block_begin * kLanes;
  const int64_t unit_end = clip(share.block_end * kLanes, unit, step.shape.hidden);
  for (int64_t b = begin; b < end; ++b) {
    float* h_n = step.args.h_n + step.state(b);
    float* c_n = step.args.c_n + step.state(b);
    const float* h = step.y(b);
    const float* c = step.c(b);
    for (int64_t u = unit; u < unit_end; u += kLanes) {
      const Lanes lanes = first_lanes(unit_end - u);
      store(h_n + u, load(h + u, lanes), lanes);
      store(c_n + u, load(c + u, lanes), lanes);
    }
  }
}

// Weights of each unit and gate: of the state and of the input, unless the gates hold their part.
inline int64_t forward_depth(const ForwardArgs& args) {
  return (args.weight_hh[0] ? args.shape.hidden : 0) + (args.x ? args.input : 0);
}

void forward_step(const ForwardStep& step, const Share& share, const float* packed) {
  const int64_t depth = forward_depth(step.args);
  const int64_t end = clip(step.rows(), share.row_begin, share.row_end);
  const Tiles tiles(share.row_begin, end, kRows);
  for (int64_t n = 0; n < share.block_end - share.block_begin; ++n) {
    const int64_t block = block_in_turn(share, step, n);
    const float* weights = packed + block * kLanes * kGates * depth;
    for (int64_t tile = 0; tile < tiles.count; ++tile) {
      const int64_t b = tiles.first(tile);
      run_forward_tile<kRows>(tiles.first(tile + 1) - b, step, b, block * kLanes, weights);
    }
  }
  keep_final_states(step, share, clip(step.surviving, share.row_begin, end), end);
}

struct ForwardContext {
  const ForwardArgs& args;
  float* packed;  // D x [blocks][H, then I if there is x][4][kLanes]
};

inline size_t forward_workspace(const ForwardArgs& args) {
  return args.shape.directions * packed_size(args.shape.hidden, forward_depth(args));
}

void pack_forward(int64_t begin, int64_t end, void* context) {
  const ForwardContext& f = *static_cast<ForwardContext*>(context);
  const int64_t hidden = f.args.shape.hidden;
  const int64_t blocks = vectors(hidden);
  for (int64_t n = begin; n < end; ++n) {
    const int64_t direction = n / blocks;
    const int64_t unit = n % blocks * kLanes;
    float* out = f.packed + n * kLanes * kGates * forward_depth(f.args);
    pack_gates(f.args.weight_hh[direction], hidden, hidden, unit, out);
    if (!f.args.x) continue;
    out += hidden * kGates * kLanes;
    pack_gates(f.args.weight_ih[direction], hidden, f.args.input, unit, out);
  }
}

void forward_share(Share share, void* context) {
  const ForwardContext& f = *static_cast<ForwardContext*>(context);
  const Shape& shape = f.args.shape;
  for (int64_t d = share.direction_begin; d < share.direction_end; ++d) {
    const float* packed = f.packed + d * packed_size(shape.hidden, forward_depth(f.args));
    for (int64_t n = 0; n < shape.steps; ++n) {
      forward_step(ForwardStep(f.args, d, n), share, packed);
      if (!share.meet()) return;
    }
  }
}

// A thread with some rows of the batch reads all weights each step; one with some of the units
// reads only theirs, but meets the others. Beyond a size that stays in a core's own cache the
// latter is 1.05-1.15x faster; not so in backward, where a block is four times as wide.
constexpr int64_t kNearFloats = 150000;

void forward(const ForwardArgs& args, float* workspace) {
  const Shape& shape = args.shape;
  if (!args.c) {
    const int64_t states = shape.directions * shape.batch * shape.hidden;
    for (int64_t n = 0; n < states; ++n) args.c_n[n] = args.c_0[n];
  }
  ForwardContext context{args, workspace};
  const int64_t blocks = vectors(shape.hidden);
  Team team(shape, blocks, packed_size(shape.hidden, forward_depth(args)) <= kNearFloats);
  if (args.weight_hh[0]) team.split(shape.directions * blocks, pack_forward, &context);
  team.run(forward_share, &context);
}
