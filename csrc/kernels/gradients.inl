// All gradients of a chunk of steps, once dgates of its rows are there; and the results at the end.

// The addresses of h_prev of the rows of a chunk.
template <class T>
void find_previous_rows(const Backward<T>& f, const Chunk& chunk, int64_t d,
                        const typename T::Element** h_prev) {
  const auto* y = static_cast<const typename T::Element*>(f.args.y);
  const auto* h_0 = static_cast<const typename T::Element*>(f.args.h_0);
  const int64_t size = f.shape.output();
  for (int64_t n = chunk.begin; n < chunk.end; ++n) {
    const Step step(f.shape, d, n);
    for (int64_t b = 0; b < step.rows(); ++b) {
      const auto** at = h_prev + step.row() - chunk.row + b;
      if (b >= step.continuing) {
        *at = f.args.noise.drops() ? f.dropped_h_0[d] + b * size : h_0 + step.state(b, size);
      } else if (f.args.noise.drops()) {
        *at = static_cast<const typename T::Element*>(f.args.dropped) +
              step.at(step.row_before + b, size);
      } else {
        *at = y + step.at(mapped(f.args.y_rows, step.row_before + b), size);
      }
    }
  }
}

// The weights' gradients from a block of rows; `ring` is where they begin in the ring.
template <class T>
void add_rows(const Backward<T>& f, int64_t d, int64_t row, int64_t ring, int64_t rows,
              const typename T::Element* const* h_prev, const Block& block, const Share& share) {
  typedef typename T::Element Element;
  const Shape& shape = f.shape;
  const auto& own = f.of[d];
  const auto sums = [&](float* WeightSums::* of) { return Sums{own.sums.*of, own.chunk_sums.*of}; };
  float* scratch = f.scratch + share.thread * f.scratch_size;
  const Element* x = static_cast<const Element*>(f.args.x);
  const int64_t* map = f.args.x_rows;
  const auto x_at = [=](int64_t n) { return x + mapped(map, row + n) * shape.input; };
  const auto h_at = [&](int64_t row) { return h_prev[row]; };
  const LeftOperand<T> gates{own.dgates + ring * f.columns,
                             f.columns,
                             vectors(shape.hidden) * kGates,
                             kGates,
                             shape.hidden,
                             sums(&WeightSums::bias)};
  add_gradients<T>(gates, RightOperand<T, decltype(x_at)>{x_at, shape.input, sums(&WeightSums::ih)},
                   RightOperand<T, decltype(h_at)>{h_at, shape.output(), sums(&WeightSums::hh)},
                   share, rows, block, scratch);
  if (!shape.projection) return;
  const Element* m = own.m + ring * shape.padded();
  const auto m_at = [&](int64_t row) { return m + row * shape.padded(); };
  const LeftOperand<T> dh{own.dh + ring * shape.projection,
                          shape.projection,
                          vectors(shape.projection),
                          1,
                          shape.projection,
                          {}};
  const RightOperand<T, decltype(m_at)> right{m_at, shape.hidden, sums(&WeightSums::hr)};
  add_gradients<T>(dh, right, RightOperand<T, decltype(m_at)>{m_at, 0, {}}, share, rows, block,
                   scratch);
}

// The weights' gradients from a chunk: dgates of all its rows are there.
template <class T>
void add_weight_gradients(const Backward<T>& f, int64_t d, const Chunk& chunk, const Share& share) {
  if (!f.args.wants_dweights) return;
  const int64_t ring = ring_of(f, d, chunk);
  const auto** h_prev = f.h_prev + share.thread * f.chunk_rows;
  find_previous_rows(f, chunk, d, h_prev);
  prepare_unit<T>(kLanes);
  const bool first = chunk.end == f.shape.steps;
  const int64_t most = gradient_rows<T>(f.shape);
  for (int64_t row = 0; row == 0 || row < chunk.row_count; row += most) {
    const int64_t rows = clip(chunk.row_count - row, 0, most);
    const Block block = {first, row > 0, row + rows >= chunk.row_count};
    add_rows(f, d, chunk.row + row, ring + row, rows, h_prev + row, block, share);
  }
}

// float sums -> elements of a gradient, a share's part.
template <class T>
void convert(const float* sums, void* out, int64_t count, const Share& share) {
  if (!out || static_cast<const void*>(sums) == out) return;
  auto* elements = static_cast<typename T::Element*>(out);
  const Range own = share.part(vectors(count));
  for (int64_t at = own.begin * kLanes; at < own.end * kLanes; at += kLanes) {
    const Lanes lanes = first_lanes(count - at);
    T::store(elements + at, load(sums + at, lanes), lanes);
  }
}

// The results of a direction, once all its steps are done. False: another thread does the rest.
template <class T>
bool finish_backward(const Backward<T>& f, int64_t d, Share& share) {
  typedef typename T::Element Element;
  const Shape& shape = f.shape;
  const Range rows = share.own_rows();
  for (int64_t b = rows.begin; b < rows.end; ++b) {
    Element* dc_0 = static_cast<Element*>(f.args.dc_0) + (d * shape.batch + b) * shape.hidden;
    for (int64_t j = 0; j < shape.hidden; j += kLanes) {
      T::store(dc_0 + j, load(f.of[d].dc + b * shape.padded() + j), first_lanes(shape.hidden - j));
    }
  }
  if (!f.args.wants_dweights) return true;
  if (!share.meet()) return false;  // the sums were made by rows of the weights
  const WeightSums& sums = f.of[d].sums;
  const Weights<void*>& out = f.args.dweights[d];
  convert<T>(sums.ih, out.ih, kGates * shape.hidden * shape.input, share);
  convert<T>(sums.hh, out.hh, kGates * shape.hidden * shape.output(), share);
  convert<T>(sums.bias, out.bias_ih, kGates * shape.hidden, share);
  convert<T>(sums.bias, out.bias_hh, kGates * shape.hidden, share);
  convert<T>(sums.hr, out.hr, shape.projection * shape.hidden, share);
  return true;
}

// dx of both directions: `count` elements from `from` in packed order, which go to `to`.
template <class T>
void join_elements(const Backward<T>& f, int64_t from, int64_t to, int64_t count) {
  auto* dx = static_cast<typename T::Element*>(f.args.dx) + to;
  const float* one = f.of[0].dx ? f.of[0].dx + from : nullptr;
  const float* two = f.of[1].dx + from;
  for (int64_t at = 0; at < count; at += kLanes) {
    const Lanes lanes = first_lanes(count - at);
    const vec first = one ? load(one + at, lanes) : T::load(dx + at, lanes);
    T::store(dx + at, first + load(two + at, lanes), lanes);
  }
}

// dx of both directions, [begin, end) of its vectors, or with a row map of the packed rows.
template <class T>
void join_directions(int64_t begin, int64_t end, void* context) {
  const Backward<T>& f = *static_cast<const Backward<T>*>(context);
  const int64_t size = f.shape.input;
  if (!f.args.x_rows) {
    const int64_t last = clip(end * kLanes, 0, f.shape.offsets[f.shape.steps] * size);
    return join_elements(f, begin * kLanes, begin * kLanes, last - begin * kLanes);
  }
  for (int64_t row = begin; row < end; ++row) {
    join_elements(f, row * size, f.args.x_rows[row] * size, size);
  }
}
