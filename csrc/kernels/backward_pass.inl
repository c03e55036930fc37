// A backward pass: its state, and where a step stands in it.

// Where sums of the weights' gradients go.
struct WeightSums {
  float* ih;    // [4H, I]
  float* hh;    // [4H, O]
  float* bias;  // [4H], or null
  float* hr;    // [P, H], or null
};

// What all tiles of a backward pass share. Rings hold the rows of two chunks of steps: the one
// under way, and the one before it, of whose last step dgates are still needed.
template <class T>
struct Backward {
  typedef typename T::Element Element;

  const BackwardArgs& args;
  const Shape& shape;
  int64_t chunk_steps;
  int64_t chunk_rows;  // at most
  int64_t columns;     // of a row of dgates: [blocks][4][kLanes]

  struct Direction {
    float* hh;        // weight_hh [panels of O][words of columns][up to kColumns][kLanes]
    float* ih;        // weight_ih [panels of I][words of columns][up to kColumns][kLanes]
    float* hr;        // weight_hr [panels of H][words of P][up to kColumns][kLanes]
    Element* dgates;  // [2][chunk_rows][columns]
    Element* dh;      // [2][chunk_rows][P], with a projection: of y
    Element* m;       // [2][chunk_rows][H'], with a projection: h before it
    float* dc;        // [B, H']: running
    float* c_0;       // [B, H']
    float* dx;        // [N, I] in packed order, or null: into args.dx at once
    WeightSums sums;
    WeightSums chunk_sums;  // of the chunk under way; or the same: its rows are one block
  } of[kMaxDirections];
  // With noise, of each direction: dh of the h that units keep, running, [B, H']; the mask of h and
  // h_0 as the first gates see it, [B, O].
  float* dh_kept[kMaxDirections];
  float* mask[kMaxDirections];
  Element* dropped_h_0[kMaxDirections];
  float* scratch;  // [threads][scratch_size]: see weight_gradients.inl
  int64_t scratch_size;
  const Element** h_prev;  // [threads][chunk_rows]: addresses of the rows
  float* panels;           // of each thread, where products are made in strips: rows multiplied
  int64_t panel_size;
  float* sums;  // and their products
  int64_t sums_size;

  Backward(const BackwardArgs& args, Arena& arena);

  const Element* gates(const Step& step, int64_t b) const {
    return static_cast<const Element*>(args.gates) +
           step.at(step.row() + b, kGates * shape.padded());
  }
  const float* c(const Step& step, int64_t b) const {
    return args.c + step.at(step.row() + b, shape.padded());
  }
  const float* c_prev(const Step& step, int64_t b) const {
    return b < step.continuing ? args.c + step.at(step.row_before + b, shape.padded())
                               : of[step.direction].c_0 + b * shape.padded();
  }
  float* dc(const Step& step, int64_t b) const {
    return of[step.direction].dc + b * shape.padded();
  }
  const Element* dy(const Step& step, int64_t b) const {
    if (!args.dy) return nullptr;
    const int64_t row = mapped(args.y_rows, step.row() + b);
    return static_cast<const Element*>(args.dy) + step.at(row, shape.output());
  }
  const Element* dh_n(const Step& step, int64_t b) const {
    return args.dh_n ? static_cast<const Element*>(args.dh_n) + step.state(b, shape.output())
                     : nullptr;
  }
};

// Where the row of a step stands in the rings; `row` is one of the N rows, of step n.
inline int64_t in_ring(const Shape& shape, int64_t direction, int64_t n, int64_t row,
                       int64_t chunk_steps, int64_t chunk_rows) {
  const int64_t index = n / chunk_steps;
  const int64_t end = clip((index + 1) * chunk_steps, 0, shape.steps);
  const Chunk chunk(shape, direction, index * chunk_steps, end);
  return index % 2 * chunk_rows + row - chunk.row;
}

// Where the rows of a chunk, or of some steps of one, begin in the rings.
template <class T>
inline int64_t ring_of(const Backward<T>& f, int64_t direction, const Chunk& chunk) {
  return in_ring(f.shape, direction, chunk.begin, chunk.row, f.chunk_steps, f.chunk_rows);
}

// A step, and where its rows and those of the step after begin in the rings.
struct BackwardStep : Step {
  int64_t ring;
  int64_t ring_after;

  BackwardStep(const Shape& shape, int64_t direction, int64_t n, int64_t chunk_steps,
               int64_t chunk_rows)
      : Step(shape, direction, n),
        ring(in_ring(shape, direction, n, row(), chunk_steps, chunk_rows)),
        ring_after(n + 1 < shape.steps
                       ? in_ring(shape, direction, n + 1, row_after, chunk_steps, chunk_rows)
                       : 0) {}
};
