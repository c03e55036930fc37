// Backward: a layer's steps from the last to the first, and the gradients of each chunk of them.

inline WeightSums take_sums(const Shape& shape, const Weights<void*>& of, Arena& arena) {
  WeightSums sums = {};
  sums.ih = arena.take<float>(kGates * shape.hidden * shape.input);
  sums.hh = arena.take<float>(kGates * shape.hidden * shape.output());
  if (of.bias_ih) sums.bias = arena.take<float>(kGates * shape.hidden);
  if (of.hr) sums.hr = arena.take<float>(shape.projection * shape.hidden);
  return sums;
}

template <class T>
Backward<T>::Backward(const BackwardArgs& args, Arena& arena) : args(args), shape(args.shape) {
  const int64_t batch = shape.batch > 0 ? shape.batch : 1;
  chunk_steps = clip((gradient_rows<T>(shape) + batch - 1) / batch, 1, shape.steps);
  chunk_rows = chunk_steps * batch;
  columns = vectors(shape.hidden) * kGates * kLanes;
  const bool keeps_sums = args.wants_dweights && T::kPerWord > 1;
  for (int64_t d = 0; d < shape.directions; ++d) {
    Direction& own = of[d];
    const int64_t weights = words<T>(columns) * kLanes;
    own.hh = arena.take<float>(weights * vectors(shape.output()));
    own.ih = arena.take<float>(args.dx ? weights * vectors(shape.input) : 0);
    own.dgates = arena.take<Element>(2 * chunk_rows * columns);
    own.dc = arena.take<float>(batch * shape.padded());
    own.c_0 = arena.take<float>(batch * shape.padded());
    dh_kept[d] = arena.take<float>(args.noise.zoneout_h > 0 ? batch * shape.padded() : 0);
    mask[d] = arena.take<float>(args.noise.drops() ? batch * shape.output() : 0);
    dropped_h_0[d] = arena.take<Element>(args.noise.drops() ? batch * shape.output() : 0);
    const bool projects = shape.projection > 0;
    own.hr = arena.take<float>(words<T>(shape.projection) * vectors(shape.hidden) * kLanes);
    own.dh = arena.take<Element>(2 * chunk_rows * shape.projection);
    own.m = arena.take<Element>(projects ? 2 * chunk_rows * shape.padded() : 0);
    // dx of both directions is added up at the end.
    const bool apart = args.dx && shape.directions == 2 && (d == 1 || T::kPerWord > 1);
    const int64_t rows = shape.offsets[shape.steps];
    own.dx = apart ? arena.take<float>(rows * shape.input) : nullptr;
    const Weights<void*>& out = args.dweights[d];
    own.sums = {static_cast<float*>(out.ih), static_cast<float*>(out.hh),
                static_cast<float*>(out.bias_ih), static_cast<float*>(out.hr)};
    if (keeps_sums) own.sums = take_sums(shape, out, arena);
    const bool many_blocks = args.wants_dweights && chunk_rows > gradient_rows<T>(shape);
    own.chunk_sums = many_blocks ? take_sums(shape, out, arena) : own.sums;
  }
  scratch_size = gradient_scratch<T>(clip(chunk_rows, 0, gradient_rows<T>(shape)));
  scratch = arena.take<float>(args.wants_dweights ? shape.threads * scratch_size : 0);
  h_prev = arena.take<const Element*>(args.wants_dweights ? shape.threads * chunk_rows : 0);
  if constexpr (T::kStrips) take_panels(*this, batch, arena);
}

// Panels of weight [4H or P, columns]: a share's part.
template <class T, class RowOf>
void pack_panels(const void* weight, int64_t columns, int64_t depth, RowOf row_of, float* out,
                 const Share& share) {
  const auto* elements = static_cast<const typename T::Element*>(weight);
  const Tiles panels({0, vectors(columns)}, kColumns);
  const Range own = share.part(panels.count);
  for (int64_t panel = own.begin; panel < own.end; ++panel) {
    const int64_t first = panels.first(panel) * kLanes;
    const int64_t width = panels.size(panel) * kLanes;
    const int64_t left = columns - first < width ? columns - first : width;
    pack_rows<T>(elements + first, columns, left, depth, row_of, out + first * words<T>(depth));
  }
}

template <class T>
void prepare_backward(const Backward<T>& f, int64_t d, const Share& share) {
  typedef typename T::Element Element;
  const Shape& shape = f.shape;
  const auto& own = f.of[d];
  const auto& weights = f.args.weights[d];
  const auto gates = [&](int64_t k) { return gate_row(k, shape.hidden); };
  pack_panels<T>(weights.hh, shape.output(), f.columns, gates, own.hh, share);
  if (f.args.dx) pack_panels<T>(weights.ih, shape.input, f.columns, gates, own.ih, share);
  if (shape.projection) {
    pack_panels<T>(
        weights.hr, shape.hidden, shape.projection, [](int64_t k) { return k; }, own.hr, share);
  }
  const Range rows = share.own_rows();
  for (int64_t b = rows.begin; b < rows.end; ++b) {
    if (f.args.noise.drops()) begin_dropout<T>(f, d, b, false, f.args.h_0);
    const int64_t at = (d * shape.batch + b) * shape.hidden;
    const Element* c_0 = static_cast<const Element*>(f.args.c_0) + at;
    const Element* dc_n = f.args.dc_n ? static_cast<const Element*>(f.args.dc_n) + at : nullptr;
    for (int64_t j = 0; j < shape.padded(); j += kLanes) {
      const int64_t left = shape.hidden - j;
      const Lanes lanes = first_lanes(left > 0 ? left : 0);
      store(own.c_0 + b * shape.padded() + j, left > 0 ? T::load(c_0 + j, lanes) : vec{});
      store(own.dc + b * shape.padded() + j, left > 0 && dc_n ? T::load(dc_n + j, lanes) : vec{});
      if (f.args.noise.zoneout_h > 0) store(f.dh_kept[d] + b * shape.padded() + j, vec{});
    }
  }
}

// The sequences [begin, end) of the share, which end with this step: nothing comes from after.
template <Tile kTile, class T>
void backward_last(const Backward<T>& f, const BackwardStep& step, const Share& share,
                   int64_t begin, int64_t end) {
  const Tiles panels({0, vectors(f.shape.output())}, kColumns);
  const Range own = share.units(panels.count);
  for (int64_t b = begin; b < end; ++b) {
    for (int64_t v = panels.first(own.begin); v < panels.first(own.end); ++v) {
      if constexpr (kTile == Tile::kStep) {
        vec dh[1] = {};
        if (f.args.noise.any()) {
          noisy_cell_back<T>(f, step, b, v, dh[0]);
        } else {
          backward_cells<T, 1>({cell_back_at(f, step, b, v)}, dh, {f.shape.hidden - v * kLanes});
        }
      } else {
        store_dh<kTile>(f, step, b, v * kLanes, vec{});
      }
    }
  }
}

// One step for the share's rows or units. False: another thread does the rest.
template <class T>
bool backward_step(const Backward<T>& f, const BackwardStep& step, Share& share) {
  const Shape& shape = f.shape;
  const int64_t end = clip(step.rows(), share.rows.begin, share.rows.end);
  const int64_t surviving = clip(step.surviving, share.rows.begin, end);
  if (shape.projection) {
    run_tiles<Tile::kOutput>(f, step, share, shape.projection, share.rows.begin, surviving);
    backward_last<Tile::kOutput>(f, step, share, surviving, end);
    if (!share.meet_in_step()) return false;
    run_tiles<Tile::kProjection>(f, step, share, shape.hidden, share.rows.begin, end);
  } else {
    run_tiles<Tile::kStep>(f, step, share, shape.hidden, share.rows.begin, surviving);
    backward_last<Tile::kStep>(f, step, share, surviving, end);
  }
  if (!share.meet_in_step()) return false;
  const int64_t continuing = clip(step.continuing, share.rows.begin, end);
  run_tiles<Tile::kInitialState>(f, step, share, shape.output(), continuing, end);
  return true;
}

template <class T>
bool backward_direction(const Backward<T>& f, int64_t d, Share& share) {
  prepare_backward(f, d, share);
  if (!share.meet()) return false;
  for (int64_t end = f.shape.steps; end > 0;) {
    const int64_t begin = (end - 1) / f.chunk_steps * f.chunk_steps;
    prepare_unit<T>(share.rows.size());
    for (int64_t n = end - 1; n >= begin; --n) {
      const BackwardStep step(f.shape, d, n, f.chunk_steps, f.chunk_rows);
      if (!backward_step(f, step, share)) return false;
    }
    if (share.splits_rows && !share.meet()) return false;  // the rings hold two chunks, no third
    const Chunk chunk(f.shape, d, begin, end);
    if (f.args.dx) add_input_gradient(f, d, chunk, share);
    add_weight_gradients(f, d, chunk, share);
    end = begin;
  }
  return finish_backward(f, d, share);
}

template <class T>
void backward_share(Share share, void* context) {
  const typename T::Unit unit;
  const Backward<T>& f = *static_cast<const Backward<T>*>(context);
  for (int64_t d = share.directions.begin; d < share.directions.end; ++d) {
    if (!backward_direction(f, d, share)) return;
  }
}

template <class T>
void run_backward(const BackwardArgs& args, Arena arena) {
  Backward<T> f(args, arena);
  const int64_t panels = Tiles({0, vectors(args.shape.output())}, kColumns).count;
  Team team(args.shape, panels, true);
  team.run(backward_share<T>, &f);
  if (!args.dx || args.shape.directions == 1) return;
  const int64_t rows = args.shape.offsets[args.shape.steps];
  const int64_t count = args.x_rows ? rows : vectors(rows * args.shape.input);
  split_over_threads(team.size(), count, join_directions<T>, &f);
}
