// Where a step's rows lie, and those of the steps beside it.

// One step of one direction. "Before" and "after" are meant in the order of the forward pass:
// the reverse direction, 1, goes from the last step to the first.
struct Step {
  const Shape& shape;
  int64_t direction;
  int64_t n;
  int64_t t;
  int64_t row_before = 0;  // first row of the step before, among the N rows
  int64_t row_after = 0;
  int64_t continuing = 0;  // sequences of this step that were in the step before
  int64_t surviving = 0;   // sequences of this step that are in the step after

  // The n-th step of the forward pass.
  Step(const Shape& shape, int64_t direction, int64_t n)
      : shape(shape), direction(direction), n(n), t(time(shape, direction, n)) {
    if (n > 0) {
      row_before = shape.offsets[time(shape, direction, n - 1)];
      continuing = shared_rows(time(shape, direction, n - 1));
    }
    if (n + 1 < shape.steps) {
      row_after = shape.offsets[time(shape, direction, n + 1)];
      surviving = shared_rows(time(shape, direction, n + 1));
    }
  }

  static int64_t time(const Shape& shape, int64_t direction, int64_t n) {
    return direction == 0 ? n : shape.steps - 1 - n;
  }
  int64_t rows() const { return shape.rows(t); }
  int64_t row() const { return shape.offsets[t]; }
  // Offset of a row in a buffer [N, D, size], and of sequence b in a buffer [D, B, size].
  int64_t at(int64_t row, int64_t size) const {
    return (row * shape.directions + direction) * size;
  }
  int64_t state(int64_t b, int64_t size) const { return (direction * shape.batch + b) * size; }

 private:
  int64_t shared_rows(int64_t other) const {
    return shape.rows(other) < rows() ? shape.rows(other) : rows();
  }
};

// Some steps in the order of the forward pass; their rows follow each other.
struct Chunk {
  int64_t begin, end;      // steps
  int64_t row, row_count;  // the first of the N rows, and how many
  int64_t first;           // step of that row
  bool apart = false;      // whether its steps stand `batch` rows apart in a buffer, not packed

  Chunk(const Shape& shape, int64_t direction, int64_t begin, int64_t end)
      : begin(begin), end(end) {
    const int64_t a = Step::time(shape, direction, begin);
    const int64_t b = Step::time(shape, direction, end - 1);
    first = a < b ? a : b;
    row = shape.offsets[first];
    row_count = shape.offsets[(a < b ? b : a) + 1] - row;
  }
  // Where row b of step t stands in a buffer of the chunk.
  int64_t place(const Shape& shape, int64_t t, int64_t b) const {
    return apart ? (t - first) * shape.batch + b : shape.offsets[t] + b - row;
  }
};

inline int64_t clip(int64_t value, int64_t low, int64_t high) {
  return value < low ? low : value > high ? high : value;
}

// The n-th of a range that a step visits. Every other step goes the opposite way: the weights that
// were used last are still in cache.
inline int64_t in_turn(Range range, int64_t step, int64_t n) {
  return step % 2 == 0 ? range.begin + n : range.end - 1 - n;
}

// Before a thread's products of that many rows, where they are made in strips.
template <class T>
inline void prepare_unit([[maybe_unused]] int64_t rows) {
#if defined(__AMX_BF16__)
  if constexpr (T::kStrips) set_strip_rows(strip_rows(rows));
#endif
}

// Hands out parts of a workspace, or with no memory only counts them.
class Arena {
 public:
  explicit Arena(void* memory = nullptr) : memory_(static_cast<char*>(memory)) {}

  template <class Item>
  Item* take(int64_t count) {
    const size_t begin = used_;
    used_ += (count * sizeof(Item) + 63) / 64 * 64;
    return memory_ ? reinterpret_cast<Item*>(memory_ + begin) : nullptr;
  }
  size_t used() const { return used_; }

 private:
  char* memory_;
  size_t used_ = 0;
};
