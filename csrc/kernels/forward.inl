// Forward: h_{t-1} @ W_hh^T on register tiles, the pointwise part on the tile, step by step.

// One step of one direction. Row b of a pointer below is at p + b * its stride.
struct ForwardStep {
  const ForwardArgs& args;
  int64_t direction;
  int64_t row;         // of the step's first sequence, among the N rows
  int64_t row_before;  // likewise, of the step before in the order of computation
  int64_t continuing;  // this many sequences were in that step; the others start here

  int64_t units() const { return args.shape.hidden; }
  int64_t stride() const { return args.shape.directions * units(); }
  int64_t state(int64_t b) const { return (direction * args.shape.batch + b) * units(); }
  int64_t at(int64_t row) const { return row * stride() + direction * units(); }

  const float* h_prev(int64_t b) const {
    return b < continuing ? args.y + at(row_before + b) : args.h_0 + state(b);
  }
  const float* c_prev(int64_t b) const {
    if (!args.c) return args.c_n + state(b);  // the running state
    return b < continuing ? args.c + at(row_before + b) : args.c_0 + state(b);
  }
  float* c(int64_t b) const { return args.c ? args.c + at(row + b) : args.c_n + state(b); }
  float* y(int64_t b) const { return args.y + at(row + b); }
  float* gates(int64_t b) const { return args.gates + kGates * at(row + b); }
};

// R sequences from b, one vector of hidden units from `unit`.
template <int R>
void forward_tile(const ForwardStep& step, int64_t b, int64_t unit, const float* packed) {
  const int64_t hidden = step.units();
  const Lanes lanes = first_lanes(hidden - unit);
  const float* h_prev[R];
  for (int r = 0; r < R; ++r) h_prev[r] = step.h_prev(b + r);
  vec z[R][kGates];
  product<R, kGates>(z, h_prev, hidden, packed);

  vec c[R];
  vec o[R];
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) {
    float* gates = step.gates(b + r) + unit;
    const Gates a = activate({z[r][0] + load(gates, lanes), z[r][1] + load(gates + hidden, lanes),
                              z[r][2] + load(gates + 2 * hidden, lanes),
                              z[r][3] + load(gates + 3 * hidden, lanes)});
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
  const int64_t unit_end = share.block_end * kLanes;
  for (int64_t b = begin; b < end; ++b) {
    for (int64_t j = unit; j < unit_end && j < step.units(); ++j) {
      step.args.h_n[step.state(b) + j] = step.y(b)[j];
      step.args.c_n[step.state(b) + j] = step.c(b)[j];
    }
  }
}

void forward_step(const ForwardStep& step, const Share& share, int64_t rows, const float* packed) {
  const int64_t hidden = step.units();
  const Tiles tiles(share.row_begin, rows < share.row_end ? rows : share.row_end, kRows);
  for (int64_t block = share.block_begin; block < share.block_end; ++block) {
    const float* weights = packed + block * kLanes * kGates * hidden;
    for (int64_t tile = 0; tile < tiles.count; ++tile) {
      const int64_t b = tiles.first(tile);
      run_forward_tile<kRows>(tiles.first(tile + 1) - b, step, b, block * kLanes, weights);
    }
  }
}

struct ForwardContext {
  const ForwardArgs& args;
  float* packed;  // D x [blocks][H][4][kLanes]
};

void pack_forward(int64_t begin, int64_t end, void* context) {
  const ForwardContext& f = *static_cast<ForwardContext*>(context);
  const int64_t hidden = f.args.shape.hidden;
  const int64_t blocks = vectors(hidden);
  for (int64_t n = begin; n < end; ++n) {
    pack_gates(f.args.weight_hh[n / blocks], hidden, n % blocks * kLanes,
               f.packed + n * kLanes * kGates * hidden);
  }
}

void forward_share(const Share& share, void* context) {
  const ForwardContext& f = *static_cast<ForwardContext*>(context);
  const Shape& shape = f.args.shape;
  const int64_t packed_size = kGates * shape.hidden * vectors(shape.hidden) * kLanes;
  for (int64_t d = share.direction_begin; d < share.direction_end; ++d) {
    for (int64_t n = 0; n < shape.steps; ++n) {
      const Neighbours at(shape, d, n);
      const ForwardStep step{f.args, d, shape.offsets[at.t], at.row_before, at.continuing};
      forward_step(step, share, shape.rows(at.t), f.packed + d * packed_size);
      const int64_t ending = at.surviving > share.row_begin ? at.surviving : share.row_begin;
      const int64_t rows = shape.rows(at.t);
      keep_final_states(step, share, ending, rows < share.row_end ? rows : share.row_end);
      if (share.barrier) share.barrier->wait();
    }
  }
}

void forward(const ForwardArgs& args, float* workspace) {
  const Shape& shape = args.shape;
  if (!args.c) {
    const int64_t states = shape.directions * shape.batch * shape.hidden;
    for (int64_t n = 0; n < states; ++n) args.c_n[n] = args.c_0[n];
  }
  ForwardContext context{args, workspace};
  const int64_t blocks = vectors(shape.hidden);
  Team team(shape, blocks);
  team.split(shape.directions * blocks, pack_forward, &context);
  team.run(forward_share, &context);
}
