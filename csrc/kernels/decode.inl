// One step of few sequences on weights as they are: packing them would cost more than the step.

// The dot products of up to kLanes rows of a weight with one vector, a lane each.
template <class T>
inline vec dot_rows(const typename T::Element* weight, int64_t rows, int64_t depth,
                    const typename T::Element* a) {
  constexpr int kTogether = 4;  // rows, so that a word of `a` is read once for all of them
  const int64_t whole = depth / T::kPerWord / kLanes * kLanes;
  const int64_t all = words<T>(depth);
  vec sums[kLanes];
  for (int first = 0; first < kLanes; first += kTogether) {
    const typename T::Element* row[kTogether];
    vec sum[kTogether] = {};
#pragma GCC unroll 4
    for (int r = 0; r < kTogether; ++r) {
      row[r] = weight + (first + r < rows ? first + r : rows - 1) * depth;
    }
    const auto add = [&](vec x, auto words_of) __attribute__((always_inline)) {
#pragma GCC unroll 4
      for (int r = 0; r < kTogether; ++r) {
        const vec w = words_of(row[r]);
#pragma GCC unroll 2
        for (int part = 0; part < T::kParts; ++part) {
          sum[r] = T::multiply_add(T::part(x, part), T::part(w, part), sum[r]);
        }
      }
    };
    int64_t k = 0;
    for (; k < whole; k += kLanes) {
      const auto at = [&](const auto* p) { return load(reinterpret_cast<const float*>(p) + k); };
      add(at(a), at);
    }
    if (k < all) {
      const auto at = [&](const auto* p) { return row_words<T>(p, depth, k); };
      add(at(a), at);
    }
#pragma GCC unroll 4
    for (int r = 0; r < kTogether; ++r) sums[first + r] = sum[r];
  }
  transpose(sums);
  vec sum = {};
#pragma GCC unroll 16
  for (int n = 0; n < kLanes; ++n) sum += sums[n];
  return sum;
}

// Units [unit, unit + kLanes) of direction d, all sequences.
template <class T>
void decode_units(const ForwardArgs& args, int64_t d, int64_t unit) {
  typedef typename T::Element Element;
  const Shape& shape = args.shape;
  const Weights<const void*>& weights = args.weights[d];
  const int64_t rows = shape.hidden - unit < kLanes ? shape.hidden - unit : kLanes;
  const Lanes lanes = first_lanes(rows);
  alignas(64) float bias[kGates * kLanes];
  pack_bias<T>(weights, shape.hidden, unit, bias);
  for (int64_t b = 0; b < shape.batch; ++b) {
    const int64_t state = d * shape.batch + b;
    const Element* x = static_cast<const Element*>(args.x) + mapped(args.x_rows, b) * shape.input;
    const Element* h_0 = static_cast<const Element*>(args.h_0) + state * shape.hidden;
    const Element* c_0 = static_cast<const Element*>(args.c_0) + state * shape.hidden + unit;
    vec z[kGates];
    for (int64_t gate = 0; gate < kGates; ++gate) {
      const int64_t row = gate * shape.hidden + unit;
      z[gate] = load(bias + gate * kLanes) +
                dot_rows<T>(static_cast<const Element*>(weights.ih) + row * shape.input, rows,
                            shape.input, x) +
                dot_rows<T>(static_cast<const Element*>(weights.hh) + row * shape.hidden, rows,
                            shape.hidden, h_0);
    }
    activate(z);
    const vec c = z[1] * T::load(c_0, lanes) + z[0] * z[2];
    T::store(static_cast<Element*>(args.c_n) + state * shape.hidden + unit, c, lanes);
    vec h[1] = {c};
    tanh(h);
    h[0] *= z[3];
    const int64_t row = mapped(args.y_rows, b) * shape.directions + d;
    T::store(static_cast<Element*>(args.y) + row * shape.hidden + unit, h[0], lanes);
    T::store(static_cast<Element*>(args.h_n) + state * shape.hidden + unit, h[0], lanes);
  }
}

template <class T>
void decode_share(Share share, void* context) {
  const ForwardArgs& args = *static_cast<const ForwardArgs*>(context);
  const Range blocks = share.part(vectors(args.shape.hidden));
  for (int64_t d = share.directions.begin; d < share.directions.end; ++d) {
    for (int64_t block = blocks.begin; block < blocks.end; ++block) {
      decode_units<T>(args, d, block * kLanes);
    }
  }
}

// Whether a call is such a step: nothing is kept for backward, and nobody has packed the weights.
inline bool decodes(const ForwardArgs& args) {
  return args.shape.steps == 1 && args.shape.batch <= 4 && !args.gates && !args.packed[0] &&
         !args.shape.projection && !args.wide && !args.wide_c && args.h_n != args.h_0 &&
         !args.noise.any();
}

template <class T>
void run_decode(const ForwardArgs& args) {
  ForwardArgs copy = args;
  Team(copy.shape, vectors(copy.shape.hidden), false).run(decode_share<T>, &copy);
}
