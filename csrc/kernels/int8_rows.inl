// x and h as integers, where weights are.

// Some rows of x.
template <class T>
void take_integers(const Forward<T>& f, int64_t direction, Range rows) {
  const int64_t size = f.shape.input;
  for (int64_t row = rows.begin; row < rows.end; ++row) {
    const float* x = static_cast<const float*>(f.args.x) + mapped(f.args.x_rows, row) * size;
    f.x_units[direction][row] =
        store_in_units(x, size, 0, f.input[direction] + row * row_size<T>(size));
  }
}

// h_0 of row b as integers. A later h is at most 1, so that its units do for all steps.
template <class T>
void begin_integers(const Forward<T>& f, int64_t direction, int64_t b) {
  const int64_t size = f.shape.output();
  const int64_t row = direction * f.shape.batch + b;
  for (int64_t slot = 0; slot < 2; ++slot) {
    f.h_units[direction][b] =
        store_in_units(static_cast<const float*>(f.args.h_0) + row * size, size, 1,
                       f.h[direction] + (slot * f.shape.batch + b) * row_size<T>(size));
  }
}
