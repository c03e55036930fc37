// Products by AMX's tile unit: strips of up to 16 rows times vectors of columns, of bfloat16.
//
// One instruction adds to the float sums of 16 rows and 16 columns the products of 16 rows of 16
// words with 16 words of 16 columns: of each sum the even and the odd elements of the words apart,
// then both. Weights are packed as everywhere, their words filled up to whole blocks of 16 with
// zeros. Rows are copied to a panel of a thread's own, block by block: they may stand anywhere, and
// what fills up their last block must be zero too.
//
// A sum is made of its row and column alone: it does not depend on the rows beside it.
//
// Going from the tile unit to vectors and back costs some hundred cycles: products of many rows and
// columns are made first, then what becomes of them is computed.

constexpr int64_t kRegister = kStrip * kLanes;  // floats

// A product that is added to one strip or two.
struct StripFactor {
  const float* rows;     // [strips][blocks][16 rows][16 words]
  const float* weights;  // [blocks * 16 words][C][kLanes]
  int64_t blocks;
};

// Where it starts, and where it goes: rows `ld` floats apart.
struct StripStart {
  const float* at;
  int64_t ld;
};
struct StripSums {
  float* at;
  int64_t ld;
};

// Rows as they are multiplied: [strips][blocks][16 rows][16 words], of which `height` rows are
// used.
template <class T>
struct Panel {
  float* at;
  int64_t depth;  // elements of a row
  int64_t height = kStrip;

  // Floats for so many rows, whatever the height.
  static int64_t size(int64_t rows, int64_t depth) {
    return (rows + kStrip - 1) / kStrip * kStrip * words<T>(depth);
  }
  int64_t blocks() const { return words<T>(depth) / kLanes; }
  // The strip that begins with a row.
  float* strip(int64_t row) const { return at + row / height * kStrip * words<T>(depth); }
  // So many rows, their last strip filled up.
  int64_t whole(int64_t rows) const { return (rows + height - 1) / height * height; }
  StripFactor times(const float* weights, int64_t row) const {
    return {strip(row), weights, blocks()};
  }
  void fill_row(int64_t row, const typename T::Element* from) const {
    float* to = strip(row) + row % height * kLanes;
    for (int64_t k = 0; k < words<T>(depth); k += kLanes, to += kRegister) {
      store(to, row_words<T>(from, depth, k));
    }
  }
  // `from(row)` is the address of a row. What fills up the last strip is left as it is: of that
  // nothing is made but sums that nobody asks for.
  template <class From>
  void fill(int64_t rows, const From& from) const {
    for (int64_t row = 0; row < rows; ++row) fill_row(row, from(row));
  }
};

// The instructions do not tell the compiler that they read memory.
inline __attribute__((always_inline)) void finish_stores() { asm volatile("" ::: "memory"); }

// One strip: registers 0 to 3 are sums, 4 is rows, 6 and 7 are weights.
template <int C>
inline void multiply_one_strip(const StripSums& out, const StripFactor* factors, int count,
                               const StripStart& start) {
  const int64_t from = start.ld * 4, to = out.ld * 4, packed = C * kLanes * 4;
  _tile_loadd(0, start.at, from);
  if constexpr (C > 1) _tile_loadd(1, start.at + kLanes, from);
  if constexpr (C > 2) _tile_loadd(2, start.at + 2 * kLanes, from);
  if constexpr (C > 3) _tile_loadd(3, start.at + 3 * kLanes, from);
  for (int n = 0; n < count; ++n) {
    const float* rows = factors[n].rows;
    const float* w = factors[n].weights;
    for (int64_t block = 0; block < factors[n].blocks; ++block) {
      _tile_loadd(4, rows, 64);
      _tile_loadd(6, w, packed);
      _tile_dpbf16ps(0, 4, 6);
      if constexpr (C > 1) {
        _tile_loadd(7, w + kLanes, packed);
        _tile_dpbf16ps(1, 4, 7);
      }
      if constexpr (C > 2) {
        _tile_loadd(6, w + 2 * kLanes, packed);
        _tile_dpbf16ps(2, 4, 6);
      }
      if constexpr (C > 3) {
        _tile_loadd(7, w + 3 * kLanes, packed);
        _tile_dpbf16ps(3, 4, 7);
      }
      rows += kRegister;
      w += kRegister * C;
    }
  }
  _tile_stored(0, out.at, to);
  if constexpr (C > 1) _tile_stored(1, out.at + kLanes, to);
  if constexpr (C > 2) _tile_stored(2, out.at + 2 * kLanes, to);
  if constexpr (C > 3) _tile_stored(3, out.at + 3 * kLanes, to);
}

// Two strips of `height` rows by N of C columns, from `column` on: registers 0 to 3 are sums, 4 and
// 5 are rows, 6 and 7 are weights, which are read once for both strips.
template <int C, int N>
inline void multiply_two_strips(const StripSums& out, int64_t height, const StripFactor* factors,
                                int count, const StripStart& start, int column) {
  const int64_t from = start.ld * 4, to = out.ld * 4, packed = C * kLanes * 4;
  const float* const one = start.at + column * kLanes;
  const float* const two = one + height * start.ld;
  _tile_loadd(0, one, from);
  _tile_loadd(1, two, from);
  if constexpr (N > 1) {
    _tile_loadd(2, one + kLanes, from);
    _tile_loadd(3, two + kLanes, from);
  }
  for (int n = 0; n < count; ++n) {
    const float* rows = factors[n].rows;
    const float* others = rows + factors[n].blocks * kRegister;
    const float* w = factors[n].weights + column * kLanes;
    for (int64_t block = 0; block < factors[n].blocks; ++block) {
      _tile_loadd(4, rows, 64);
      _tile_loadd(6, w, packed);
      _tile_dpbf16ps(0, 4, 6);
      _tile_loadd(5, others, 64);
      _tile_dpbf16ps(1, 5, 6);
      if constexpr (N > 1) {
        _tile_loadd(7, w + kLanes, packed);
        _tile_dpbf16ps(2, 4, 7);
        _tile_dpbf16ps(3, 5, 7);
      }
      rows += kRegister;
      others += kRegister;
      w += kRegister * C;
    }
  }
  float* const first = out.at + column * kLanes;
  float* const second = first + height * out.ld;
  _tile_stored(0, first, to);
  _tile_stored(1, second, to);
  if constexpr (N > 1) {
    _tile_stored(2, first + kLanes, to);
    _tile_stored(3, second + kLanes, to);
  }
}

// out, rows of [C][kLanes], = start, plus `count` products: of one strip, or of two if there are
// more rows than its height. Sums are made of all rows of a strip; `start` may be `out`.
template <int C>
__attribute__((noinline)) void multiply_strips(const StripSums& out, int64_t rows, int64_t height,
                                               const StripFactor* factors, int count,
                                               const StripStart& start) {
  finish_stores();
  if (rows <= height) return multiply_one_strip<C>(out, factors, count, start);
  multiply_two_strips<C, (C > 1 ? 2 : 1)>(out, height, factors, count, start, 0);
  if constexpr (C > 2) multiply_two_strips<C, C - 2>(out, height, factors, count, start, 2);
}

alignas(64) constexpr float kZeros[kColumns * kLanes] = {};
constexpr StripStart kNothing = {kZeros, 0};

// The product of a panel's rows [row, row + rows) with C vectors of columns: out [rows][C][kLanes],
// and as many rows more as fill up the last strip.
template <int C, class T>
inline void multiply_panel(const Panel<T>& panel, int64_t row, int64_t rows, const float* weights,
                           float* out) {
  for (int64_t n = 0; n < rows; n += 2 * panel.height) {
    const StripFactor factor = panel.times(weights, row + n);
    const StripSums sums = {out + n * C * kLanes, C * kLanes};
    multiply_strips<C>(sums, rows - n, panel.height, &factor, 1, kNothing);
  }
}

// The sums of a row with a block of units, [4][kLanes].
inline void copy_gates(const float* from, float* to) {
#pragma GCC unroll 4
  for (int i = 0; i < kGates; ++i) store(to + i * kLanes, load(from + i * kLanes));
}

// Rows whose pointwise part is computed at a time, once their sums are made.
constexpr int kCellRows = 3;

// Rows of sums, of up to kColumns vectors, that are made before they are used: 64 KiB.
constexpr int64_t kSumRows = 256;

// A thread's memory for them: floats.
inline int64_t sums_size(int64_t rows) {
  const int64_t whole = (rows + kStrip - 1) / kStrip * kStrip;
  return (whole > kSumRows ? whole : kSumRows) * kColumns * kLanes;
}
