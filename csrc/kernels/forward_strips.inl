// Forward where products are made in strips.

template <class T>
void take_panels(Forward<T>& f, int64_t batch, Arena& arena) {
  const Shape& shape = f.shape;
  const int64_t rows = f.fused ? batch : f.chunk_steps * batch;
  f.h_panel = Panel<T>::size(rows, shape.input);
  f.panel_size = f.h_panel + Panel<T>::size(batch, shape.hidden);  // O is at most H
  f.panels = arena.take<float>(shape.threads * f.panel_size);
  f.places = arena.take<int64_t>(f.fused ? 0 : shape.threads * rows);
  f.sums_size = sums_size(rows);
  f.sums = arena.take<float>(shape.threads * f.sums_size);
}

// A thread's rows of x, and of h.
template <class T>
inline Panel<T> x_panel(const Forward<T>& f, const Share& share, int64_t height) {
  return {f.panels + share.thread * f.panel_size, f.shape.input, height};
}
template <class T>
inline Panel<T> h_panel(const Forward<T>& f, const Share& share, int64_t depth) {
  return {f.panels + share.thread * f.panel_size + f.h_panel, depth, strip_rows(share.rows.size())};
}

// Some rows of a step, from the share's row `row` on, and a block of units.
struct GateStrips {
  int64_t row, rows, block;
};

// Where their products start: at the bias, or at what is projected. `sums` is used where not all
// rows of the strips have a start.
template <class T>
inline StripStart gate_start(const Forward<T>& f, const Step& step, const Chunk& chunk, int64_t b,
                             const GateStrips& of, int64_t height, float* sums) {
  const int64_t own = kGates * kLanes;
  if (f.fused) return {f.weights[step.direction].bias + of.block * own, 0};
  const float* start = f.projected(step, chunk, b) + of.block * own;
  const int64_t ld = vectors(f.shape.hidden) * own;
  if (of.rows % height == 0) return {start, ld};
  for (int64_t row = 0; row < of.rows; ++row) copy_gates(start + row * ld, sums + row * own);
  return {sums, own};
}

// Their pre-activations [rows][4][kLanes]: h_prev times weight_hh, and x times weight_ih unless it
// is projected, added to `start`.
template <class T>
inline void gate_strips(const Forward<T>& f, int64_t direction, const Share& share,
                        const GateStrips& of, const StripStart& start, float* sums) {
  const PackedWeights& weights = f.weights[direction];
  const Panel<T> h = h_panel(f, share, f.shape.output());
  const Panel<T> x = x_panel(f, share, h.height);
  const int64_t block = of.block * kGates * kLanes;
  const StripFactor factors[2] = {
      x.times(weights.ih + block * words<T>(x.depth), of.row),
      h.times(weights.hh + block * words<T>(h.depth), of.row),
  };
  multiply_strips<kGates>({sums, kGates * kLanes}, of.rows, h.height, factors + !f.fused,
                          1 + f.fused, start);
}

// The pointwise part.
template <class T>
inline void cells_of_strips(const Forward<T>& f, const Step& step, const Chunk& chunk, int64_t b,
                            const GateStrips& of, const float* sums) {
  const Tiles tiles({0, of.rows}, kCellRows);
  for (int64_t tile = 0; tile < tiles.count; ++tile) {
    const int64_t first = tiles.first(tile);
    with_tile<kCellRows, 1>(tiles.size(tile), 1, [&](auto size, auto) {
      forward_tile<T, decltype(size)::value>(f, step, chunk, b + first, of.block,
                                             sums + first * kGates * kLanes);
    });
  }
}

// The rows of a step as they are multiplied.
template <class T>
void fill_panels(const Forward<T>& f, const Step& step, const Share& share, int64_t count) {
  const Panel<T> h = h_panel(f, share, f.shape.output());
  const int64_t begin = share.rows.begin;
  h.fill(count, [&](int64_t row) { return f.h_prev(step, begin + row); });
  if (!f.fused) return;
  const Panel<T> x = x_panel(f, share, h.height);
  x.fill(count, [&](int64_t row) { return f.x(step.direction, step.row() + begin + row); });
}

// A step, for the share's rows before `row_end` and its units.
template <class T>
void forward_strips(const Forward<T>& f, const Step& step, const Chunk& chunk, const Share& share,
                    int64_t row_end) {
  const int64_t begin = share.rows.begin;
  const int64_t count = row_end - begin;
  const Range blocks = share.units(vectors(f.shape.hidden));
  fill_panels(f, step, share, count);
  if (count == 1) return forward_row(f, step, chunk, begin, blocks, share);
  const Panel<T> h = h_panel(f, share, f.shape.output());
  const int64_t own = h.whole(count) * kGates * kLanes;  // floats of a block's sums
  const int64_t together = clip(f.sums_size / (own ? own : 1), 1, blocks.size());
  float* const sums = f.sums + share.thread * f.sums_size;
  for (int64_t first = 0; first < blocks.size(); first += together) {
    const int64_t end = clip(first + together, 0, blocks.size());
    for (int64_t n = first; n < end; ++n) {
      for (int64_t row = 0; row < count; row += 2 * h.height) {
        float* const to = sums + (n - first) * own + row * kGates * kLanes;
        const GateStrips of = {row, clip(count - row, 0, 2 * h.height), in_turn(blocks, step.n, n)};
        const StripStart start = gate_start(f, step, chunk, begin + row, of, h.height, to);
        gate_strips(f, step.direction, share, of, start, to);
      }
    }
    for (int64_t n = first; n < end; ++n) {
      const GateStrips of = {0, count, in_turn(blocks, step.n, n)};
      cells_of_strips(f, step, chunk, begin, of, sums + (n - first) * own);
    }
  }
}

// Pre-activations of a lone row; `z` has its part of the input where that is projected.
template <class T>
void row_strips(const Forward<T>& f, const Step& step, Range blocks, const Share& share, float* z) {
  const int64_t own = kGates * kLanes;
  float* const sums = f.sums + share.thread * f.sums_size;
  const bool lone = share.rows.size() == 1;  // so that a strip is one row
  for (int64_t n = 0; n < blocks.size(); ++n) {
    const int64_t block = in_turn(blocks, step.n, n);
    float* const to = z + block * own;
    const float* start = f.fused ? f.weights[step.direction].bias + block * own : to;
    gate_strips(f, step.direction, share, {0, 1, block}, {start, 0}, lone ? to : sums);
    if (!lone) copy_gates(sums, to);
  }
}
