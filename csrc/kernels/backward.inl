// Backward (BPTT): dgates_{t+1} @ W_hh on register tiles, the pointwise part on the tile.
//
// Werbos 1990. Steps are visited in the reverse of the forward order.

struct BackwardStep : Step {
  const BackwardArgs& args;

  BackwardStep(const BackwardArgs& args, int64_t direction, int64_t n)
      : Step(args.shape, direction, n), args(args) {}

  // Of sequence b, [H] or [4H].
  const float* c_prev(int64_t b) const {
    return b < continuing ? args.c + at(row_before + b) : args.c_0 + state(b);
  }
  const float* c(int64_t b) const { return args.c + at(row() + b); }
  const float* dy(int64_t b) const { return args.dy ? args.dy + at(row() + b) : nullptr; }
  const float* gates(int64_t b) const { return args.gates + kGates * at(row() + b); }
  float* dgates(int64_t b) const { return args.dgates + kGates * at(row() + b); }
  const float* dgates_after(int64_t b) const { return args.dgates + kGates * at(row_after + b); }
};

// One vector of units of one sequence: dh from the product -> dgates, and dc for the step before.
inline void backward_vector(const BackwardStep& step, int64_t b, int64_t unit, vec dh) {
  const int64_t hidden = step.shape.hidden;
  const Lanes lanes = first_lanes(hidden - unit);
  if (const float* dy = step.dy(b)) dh += load(dy + unit, lanes);
  const float* gates = step.gates(b) + unit;
  float* dc = step.args.dc_0 + step.state(b) + unit;  // the running gradient of c
  const CellGradient d = cell_backward(
      {load(gates, lanes), load(gates + hidden, lanes), load(gates + 2 * hidden, lanes),
       load(gates + 3 * hidden, lanes)},
      load(step.c(b) + unit, lanes), load(step.c_prev(b) + unit, lanes), dh, load(dc, lanes));
  store(dc, d.dc_prev, lanes);
  float* dgates = step.dgates(b) + unit;
  store(dgates, d.dgates.i, lanes);
  store(dgates + hidden, d.dgates.f, lanes);
  store(dgates + 2 * hidden, d.dgates.g, lanes);
  store(dgates + 3 * hidden, d.dgates.o, lanes);
}

// As in forward: the pointwise part's rows lie far apart.
inline void prefetch_rows(const BackwardStep& step, int64_t b, int64_t rows, int64_t unit,
                          int64_t units) {
  const int64_t hidden = step.shape.hidden;
  for (int64_t r = b; r < b + rows; ++r) {
    for (int64_t u = unit; u < unit + units; u += kLanes) {
      for (int64_t gate = 0; gate < kGates; ++gate) {
        prefetch(step.gates(r) + gate * hidden + u);
        prefetch_for_write(step.dgates(r) + gate * hidden + u);
      }
      prefetch(step.c(r) + u);
      prefetch(step.c_prev(r) + u);
      if (step.args.dy) prefetch(step.dy(r) + u);
      prefetch_for_write(step.args.dc_0 + step.state(r) + u);
    }
  }
}

// What a tile's product with W_hh is for.
enum class Tile {
  kStep,          // dh of sequences that go on after this step -> their dgates
  kInitialState,  // dh_0 of sequences that start with this step
};

// R sequences from b, C vectors of units from `unit`.
template <Tile kTile, int R, int C>
void backward_tile(const BackwardStep& step, int64_t b, int64_t unit, const float* packed) {
  const float* dgates[R];
  for (int r = 0; r < R; ++r) {
    dgates[r] = kTile == Tile::kStep ? step.dgates_after(b + r) : step.dgates(b + r);
  }
  if constexpr (kTile == Tile::kStep) prefetch_rows(step, b, R, unit, C * kLanes);
  vec dh[R][C] = {};
  add_product<R, C>(dh, dgates, kGates * step.shape.hidden, packed);
  for (int c = 0; c < C; ++c) {
    const int64_t u = unit + c * kLanes;
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
      if constexpr (kTile == Tile::kStep) {
        backward_vector(step, b + r, u, dh[r][c]);
      } else {
        store(step.args.dh_0 + step.state(b + r) + u, dh[r][c], first_lanes(step.shape.hidden - u));
      }
    }
  }
}

// The tile of `rows` sequences, at most R, and `columns` vectors, at most C.
template <Tile kTile, int R, int C>
void run_backward_tile(int64_t rows, int64_t columns, const BackwardStep& step, int64_t b,
                       int64_t unit, const float* packed) {
  if constexpr (R > 1) {
    if (rows < R) {
      return run_backward_tile<kTile, R - 1, C>(rows, columns, step, b, unit, packed);
    }
  }
  if constexpr (C > 1) {
    if (columns < C) {
      return run_backward_tile<kTile, R, C - 1>(rows, columns, step, b, unit, packed);
    }
  }
  backward_tile<kTile, R, C>(step, b, unit, packed);
}

// Runs tiles over the sequences [begin, end) of the share, for its blocks of units.
template <Tile kTile>
void run_tiles(const BackwardStep& step, const Share& share, int64_t begin, int64_t end,
               const float* packed) {
  const int64_t hidden = step.shape.hidden;
  const Tiles rows(begin, end, kRows);
  const Tiles blocks(0, vectors(hidden), kColumns);
  for (int64_t n = 0; n < share.block_end - share.block_begin; ++n) {
    const int64_t block = block_in_turn(share, step, n);
    const int64_t first = blocks.first(block);
    const float* weights = packed + first * kLanes * kGates * hidden;
    for (int64_t tile = 0; tile < rows.count; ++tile) {
      const int64_t b = rows.first(tile);
      run_backward_tile<kTile, kRows, kColumns>(rows.first(tile + 1) - b,
                                                blocks.first(block + 1) - first, step, b,
                                                first * kLanes, weights);
    }
  }
}

// The sequences of the share that end with this step: dh comes from dh_n alone.
void backward_last(const BackwardStep& step, const Share& share, int64_t begin, int64_t end) {
  const Tiles blocks(0, vectors(step.shape.hidden), kColumns);
  const int64_t unit_begin = blocks.first(share.block_begin) * kLanes;
  const int64_t unit_end = blocks.first(share.block_end) * kLanes;
  for (int64_t b = begin; b < end; ++b) {
    const float* dh_n = step.args.dh_n ? step.args.dh_n + step.state(b) : nullptr;
    for (int64_t u = unit_begin; u < unit_end; u += kLanes) {
      backward_vector(step, b, u,
                      dh_n ? load(dh_n + u, first_lanes(step.shape.hidden - u)) : vec{});
    }
  }
}

struct BackwardContext {
  const BackwardArgs& args;
  float* packed;  // D x [blocks][4H][up to kColumns][kLanes]
};

inline size_t backward_workspace(const BackwardArgs& args) {
  return args.shape.directions * packed_size(args.shape.hidden, args.shape.hidden);
}

void pack_backward(int64_t begin, int64_t end, void* context) {
  const BackwardContext& b = *static_cast<BackwardContext*>(context);
  const int64_t hidden = b.args.shape.hidden;
  const Tiles blocks(0, vectors(hidden), kColumns);
  for (int64_t n = begin; n < end; ++n) {
    const int64_t direction = n / blocks.count;
    const int64_t first = blocks.first(n % blocks.count);
    float* out = b.packed + (direction * vectors(hidden) + first) * kLanes * kGates * hidden;
    pack_columns(b.args.weight_hh[direction], hidden, first * kLanes,
                 blocks.first(n % blocks.count + 1) - first, out);
  }
}

void backward_share(Share share, void* context) {
  const BackwardContext& b = *static_cast<BackwardContext*>(context);
  const Shape& shape = b.args.shape;
  for (int64_t d = share.direction_begin; d < share.direction_end; ++d) {
    const float* packed = b.packed + d * packed_size(shape.hidden, shape.hidden);
    for (int64_t n = shape.steps - 1; n >= 0; --n) {
      const BackwardStep step(b.args, d, n);
      const int64_t end = clip(step.rows(), share.row_begin, share.row_end);
      const int64_t surviving = clip(step.surviving, share.row_begin, end);
      const int64_t continuing = clip(step.continuing, share.row_begin, end);
      run_tiles<Tile::kStep>(step, share, share.row_begin, surviving, packed);
      backward_last(step, share, surviving, end);
      if (!share.meet()) return;
      run_tiles<Tile::kInitialState>(step, share, continuing, end, packed);
    }
  }
}

void backward(const BackwardArgs& args, float* workspace) {
  BackwardContext context{args, workspace};
  const int64_t blocks = Tiles(0, vectors(args.shape.hidden), kColumns).count;
  Team team(args.shape, blocks, true);
  team.split(args.shape.directions * blocks, pack_backward, &context);
  team.run(backward_share, &context);
}
