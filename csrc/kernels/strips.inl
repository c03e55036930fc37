// Products by AMX's tile unit: strips of 16 rows times vectors of columns, of bfloat16.
//
// A register of the unit holds 16 rows of 64 bytes. One instruction adds to 16 x 16 float sums the
// products of 16 rows of 16 words with 16 words of 16 columns: of each sum the even and the odd
// elements of the words apart, then both. Weights are packed as everywhere, their words filled up
// to whole blocks of 16 with zeros. Rows are copied to a panel of a thread's own, block by block:
// they may stand anywhere, and what fills up their last block must be zero too.
//
// A sum is made of its row and column alone: it does not depend on the rows beside it.

// A product that is added to strips: a panel of rows times packed weights.
struct StripFactor {
  const float* rows;     // [strips][blocks][16 rows][16 words]
  const float* weights;  // [blocks * 16 words][columns]
  int64_t blocks;

  int64_t apart() const { return blocks * kStrip * kLanes; }  // floats, of two strips
};

// Floats of a panel of so many rows.
template <class T>
inline int64_t panel_size(int64_t rows, int64_t depth) {
  return (rows + kStrip - 1) / kStrip * kStrip * words<T>(depth);
}

// Where the strip of a row of a panel begins.
template <class T>
inline float* strip_at(float* panel, int64_t row, int64_t depth) {
  return panel + row / kStrip * kStrip * words<T>(depth);
}

// `row` of a panel, from `depth` elements.
template <class T>
inline void fill_row(const typename T::Element* from, int64_t depth, int64_t row, float* panel) {
  float* to = strip_at<T>(panel, row, depth) + row % kStrip * kLanes;
  for (int64_t k = 0; k < words<T>(depth); k += kLanes, to += kStrip * kLanes) {
    store(to, row_words<T>(from, depth, k));
  }
}

// A panel; `at(row)` is the address of a row. What fills up its last strip is left as it is: of
// that nothing is read but sums that nobody asks for.
template <class T, class At>
inline void fill_panel(int64_t rows, int64_t depth, const At& at, float* panel) {
  for (int64_t row = 0; row < rows; ++row) fill_row<T>(at(row), depth, row, panel);
}

// The instructions do not tell the compiler that they read memory.
inline __attribute__((always_inline)) void finish_stores() { asm volatile("" ::: "memory"); }

// One strip: registers 0 to 3 are sums, 4 is rows, 5 to 7 are weights.
template <int C>
inline __attribute__((always_inline)) void multiply_one_strip(float* out,
                                                              const StripFactor* factors, int count,
                                                              const float* start, int64_t ld) {
  const int64_t from = ld * 4, to = C * kLanes * 4;
  _tile_loadd(0, start, from);
  if constexpr (C > 1) _tile_loadd(1, start + kLanes, from);
  if constexpr (C > 2) _tile_loadd(2, start + 2 * kLanes, from);
  if constexpr (C > 3) _tile_loadd(3, start + 3 * kLanes, from);
  for (int n = 0; n < count; ++n) {
    const float* rows = factors[n].rows;
    const float* w = factors[n].weights;
    for (int64_t block = 0; block < factors[n].blocks; ++block) {
      _tile_loadd(4, rows, 64);
      _tile_loadd(5, w, to);
      _tile_dpbf16ps(0, 4, 5);
      if constexpr (C > 1) {
        _tile_loadd(6, w + kLanes, to);
        _tile_dpbf16ps(1, 4, 6);
      }
      if constexpr (C > 2) {
        _tile_loadd(7, w + 2 * kLanes, to);
        _tile_dpbf16ps(2, 4, 7);
      }
      if constexpr (C > 3) {
        _tile_loadd(5, w + 3 * kLanes, to);
        _tile_dpbf16ps(3, 4, 5);
      }
      rows += kStrip * kLanes;
      w += kStrip * C * kLanes;
    }
  }
  _tile_stored(0, out, to);
  if constexpr (C > 1) _tile_stored(1, out + kLanes, to);
  if constexpr (C > 2) _tile_stored(2, out + 2 * kLanes, to);
  if constexpr (C > 3) _tile_stored(3, out + 3 * kLanes, to);
}

// Two strips by N of C columns, from `column` on: registers 0 to 3 are sums, 4 and 5 are rows, 6
// and 7 are weights, each of which is read once for both strips.
template <int C, int N>
inline __attribute__((always_inline)) void multiply_two_strips(float* out,
                                                               const StripFactor* factors,
                                                               int count, const float* start,
                                                               int64_t ld, int column) {
  const int64_t from = ld * 4, to = C * kLanes * 4;
  start += column * kLanes;
  out += column * kLanes;
  _tile_loadd(0, start, from);
  _tile_loadd(1, start + kStrip * ld, from);
  if constexpr (N > 1) {
    _tile_loadd(2, start + kLanes, from);
    _tile_loadd(3, start + kLanes + kStrip * ld, from);
  }
  for (int n = 0; n < count; ++n) {
    const float* rows = factors[n].rows;
    const float* others = rows + factors[n].apart();
    const float* w = factors[n].weights + column * kLanes;
    for (int64_t block = 0; block < factors[n].blocks; ++block) {
      _tile_loadd(4, rows, 64);
      _tile_loadd(6, w, to);
      _tile_dpbf16ps(0, 4, 6);
      _tile_loadd(5, others, 64);
      _tile_dpbf16ps(1, 5, 6);
      if constexpr (N > 1) {
        _tile_loadd(7, w + kLanes, to);
        _tile_dpbf16ps(2, 4, 7);
        _tile_dpbf16ps(3, 5, 7);
      }
      rows += kStrip * kLanes;
      others += kStrip * kLanes;
      w += kStrip * C * kLanes;
    }
  }
  float* const second = out + kStrip * C * kLanes;
  _tile_stored(0, out, to);
  _tile_stored(1, second, to);
  if constexpr (N > 1) {
    _tile_stored(2, out + kLanes, to);
    _tile_stored(3, second + kLanes, to);
  }
}

// out [16 or, if `two`, 32 rows][C][kLanes] = start, rows `ld` floats apart, plus `count` products.
// `start` may be `out`.
template <int C>
__attribute__((noinline)) void multiply_strips(float* out, bool two, const StripFactor* factors,
                                               int count, const float* start, int64_t ld) {
  finish_stores();
  if (!two) return multiply_one_strip<C>(out, factors, count, start, ld);
  multiply_two_strips<C, (C > 1 ? 2 : 1)>(out, factors, count, start, ld, 0);
  if constexpr (C > 2) multiply_two_strips<C, C - 2>(out, factors, count, start, ld, 2);
}

// The sums of up to 32 rows with a panel of columns, and where a product from zero starts.
struct StripSums {
  alignas(64) float at[kTwoStrips * kColumns * kLanes];
};
alignas(64) constexpr float kNothing[kColumns * kLanes] = {};
