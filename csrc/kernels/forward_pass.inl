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
  Element* input[kMaxDirections];  // wide: [N, I], x in the type
  float* h_units[kMaxDirections];  // [B]: of integers, what 1 stands for in each row of h
  float* x_units[kMaxDirections];  // [N]: and of x
  Element* m[kMaxDirections];      // [B, H']: h before its projection
  // Where h is dropped, of each direction [B, O]: the mask, and h_0 as the first gates see it.
  float* mask[kMaxDirections];
  Element* dropped_h_0[kMaxDirections];
  Element* dropped;  // [N, D, O], or null: nothing is
  // Of each thread, where products are made in strips: rows of x, then of h, as they are
  // multiplied, and where the rows of a chunk stand in gates_x.
  float* panels;
  int64_t panel_size, h_panel;
  int64_t* places;  // [threads][rows of a chunk]
  float* sums;      // of each thread: products
  int64_t sums_size;

  Forward(const ForwardArgs& args, int64_t most_chunk_steps, Arena& arena);

  const Element* x(int64_t direction, int64_t row) const {
    if (args.wide) return input[direction] + row * row_size<T>(shape.input);
    return static_cast<const Element*>(args.x) + mapped(args.x_rows, row) * shape.input;
  }
  // Where a row of y stands in args.y.
  int64_t y_at(const Step& step, int64_t row) const {
    return step.at(mapped(args.y_rows, row), shape.output());
  }
  // h of a step as the next one reads it; that is y, unless y is wide.
  Element* y(const Step& step, int64_t b) const {
    if (args.wide) {
      return h[step.direction] + (step.n % 2 * shape.batch + b) * row_size<T>(shape.output());
    }
    return static_cast<Element*>(args.y) + y_at(step, step.row() + b);
  }
  // h of the step before.
  const Element* h_before(const Step& step, int64_t b) const {
    const int64_t size = row_size<T>(shape.output());
    if (args.wide) return h[step.direction] + ((step.n + 1) % 2 * shape.batch + b) * size;
    if (b < step.continuing) {
      return static_cast<const Element*>(args.y) + y_at(step, step.row_before + b);
    }
    return static_cast<const Element*>(args.h_0) + step.state(b, size);
  }
  // The same as the gates see it.
  const Element* h_prev(const Step& step, int64_t b) const {
    if (!dropped) return h_before(step, b);
    const int64_t size = shape.output();
    return b < step.continuing ? dropped + step.at(step.row_before + b, size)
                               : dropped_h_0[step.direction] + b * size;
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
    const int64_t row = fused ? b : chunk.place(shape, step.t, b);
    return gates_x[step.direction] + row * vectors(shape.hidden) * kGates * kLanes;
  }
};
