// Where a step's rows lie, and those of the steps beside it.

// One step of one direction. "Before" and "after" are meant in the order of the forward pass:
// the reverse direction, 1, goes from the last step to the first.
struct Step {
  const Shape& shape;
  int64_t direction;
  int64_t t;
  int64_t row_before = 0;  // first row of the step before, among the N rows
  int64_t row_after = 0;
  int64_t continuing = 0;  // sequences of this step that were in the step before
  int64_t surviving = 0;   // sequences of this step that are in the step after

  // The n-th step of the forward pass.
  Step(const Shape& shape, int64_t direction, int64_t n)
      : shape(shape), direction(direction), t(direction == 0 ? n : shape.steps - 1 - n) {
    const int64_t forward = direction == 0 ? 1 : -1;
    if (n > 0) {
      row_before = shape.offsets[t - forward];
      continuing = shared_rows(t - forward);
    }
    if (n + 1 < shape.steps) {
      row_after = shape.offsets[t + forward];
      surviving = shared_rows(t + forward);
    }
  }

  int64_t rows() const { return shape.rows(t); }
  int64_t row() const { return shape.offsets[t]; }
  // Offset of a row in a buffer [N, D, H]; times kGates in one [N, D, 4H].
  int64_t at(int64_t row) const { return (row * shape.directions + direction) * shape.hidden; }
  // Offset of sequence b in a buffer [D, B, H].
  int64_t state(int64_t b) const { return (direction * shape.batch + b) * shape.hidden; }

 private:
  int64_t shared_rows(int64_t other) const {
    return shape.rows(other) < rows() ? shape.rows(other) : rows();
  }
};

// The n-th block of units that a step visits. Every other step goes the opposite way: the weights
// that were used last are still in cache.
inline int64_t block_in_turn(const Share& share, const Step& step, int64_t n) {
  return step.t % 2 == 0 ? share.block_begin + n : share.block_end - 1 - n;
}

inline int64_t clip(int64_t value, int64_t low, int64_t high) {
  return value < low ? low : value > high ? high : value;
}
