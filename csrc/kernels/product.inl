// Products on register tiles: R rows by C vectors of columns, over packed weights.

// Sums over this many words are added up apart, so that rounding grows with depth / kDepth. It must
// pay: with a fused multiply-add a term is rounded once, else twice.
#if defined(__FMA__) || defined(__ARM_FEATURE_FMA)
constexpr int64_t kDepth = 48;
#else
constexpr int64_t kDepth = 32;
#endif

// A product that is added to a tile: rows [R][depth] times weights packed [depth][C][kLanes]. The
// words of a row follow each other; or kApart apart, and rows side by side, where they are packed.
template <int R>
struct Factor {
  const char* rows[R];
  float units[R];        // of integers: what 1 stands for in each row
  int64_t depth;         // words, but for a last one that is half full
  bool half;             // whether there is such a word
  const float* weights;  // of the first block of columns
  int64_t apart;         // floats from one block of columns to the next
};

template <class T, int R>
inline void set_depth(Factor<R>& factor, int64_t depth) {
  factor.depth = depth / T::kPerWord;
  factor.half = depth % T::kPerWord != 0;
}

// acc[r][c] += a(r) * w[c], of one word; a(r) gives it in every lane.
template <class T, int R, int C, int S, class Word>
inline __attribute__((always_inline)) void add_word(vec (&acc)[R][S * C], Word a, const float* w,
                                                    int64_t apart) {
#pragma GCC unroll 2
  for (int part = 0; part < T::kParts; ++part) {
    vec weight[S * C];
#pragma GCC unroll 8
    for (int c = 0; c < S * C; ++c) {
      weight[c] = T::part(load(w + (c / C) * apart + (c % C) * kLanes), part);
    }
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
      const vec x = T::part(a(r), part);
#pragma GCC unroll 8
      for (int c = 0; c < S * C; ++c) acc[r][c] = T::multiply_add(x, weight[c], acc[r][c]);
    }
  }
}

// Adds the sums of some words to those before, or, if first, to what the rows of `start` hold.
template <int R, int C>
inline __attribute__((always_inline)) void flush(vec (&sum)[R][C], vec (&acc)[R][C], bool first,
                                                 const float* const* start) {
  if (!first) {
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
#pragma GCC unroll 8
      for (int c = 0; c < C; ++c) sum[r][c] += acc[r][c];
    }
  } else if (start) {
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
#pragma GCC unroll 8
      for (int c = 0; c < C; ++c) sum[r][c] = load(start[r] + c * kLanes) + acc[r][c];
    }
  } else {
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
#pragma GCC unroll 8
      for (int c = 0; c < C; ++c) sum[r][c] = acc[r][c];
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 8
    for (int c = 0; c < C; ++c) acc[r][c] = vec{};
  }
}

// sum = `start`, rows of S * C vectors, or null: zero; plus `count` products, S blocks of C vectors
// wide. An element's sum has the same order whatever R, S and `count` are: a row's result does not
// depend on the rows beside it, nor on whether its products are made at once. Not inlined: amid
// other code GCC would not give every accumulator a register.
template <class T, int R, int C, int S, int kApart = 1>
__attribute__((noinline)) void product(vec (&sum)[R][S * C], const Factor<R>* factors, int count,
                                       const float* const* start = nullptr) {
  vec acc[R][S * C] = {};
  bool first = true;
  for (int n = 0; n < count; ++n) {
    const char* rows[R];
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) rows[r] = factors[n].rows[r];
    const float* w = factors[n].weights;
    const int64_t apart = factors[n].apart;
    const int64_t depth = factors[n].depth;
    for (int64_t k = 0; k < depth;) {
      const int64_t end = depth - k < kDepth ? depth : k + kDepth;
      for (; k < end; ++k, w += C * kLanes) {
        const auto word = [&](int r) {
          return broadcast_word(kApart == 1 ? rows[r] + k * 4 : rows[0] + (k * kApart + r) * 4);
        };
        add_word<T, R, C, S>(acc, word, w, apart);
      }
      if (k == depth && factors[n].half) break;
      flush(sum, acc, first, start);
      first = false;
    }
    if (!factors[n].half) continue;
    const auto last = [&](int r) {
      const uint32_t word = *reinterpret_cast<const uint16_t*>(rows[r] + depth * 4);
      return broadcast_word(&word);
    };
    add_word<T, R, C, S>(acc, last, w, apart);
    flush(sum, acc, first, start);
    first = false;
  }
  if (first) flush(sum, acc, first, start);  // nothing to sum
}

// The sums of a tile, where they are made already: rows of C vectors.
template <int R, int C>
inline __attribute__((always_inline)) void load_tile(vec (&sum)[R][C], const float* const* rows) {
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 8
    for (int c = 0; c < C; ++c) sum[r][c] = load(rows[r] + c * kLanes);
  }
}

// A number of rows or vectors, cut into tiles of nearly equal size, none larger than `largest`.
struct Tiles {
  int64_t begin, end, count;

  Tiles(Range range, int64_t largest)
      : begin(range.begin),
        end(range.end),
        count(begin < end ? (end - begin + largest - 1) / largest : 0) {}
  int64_t first(int64_t tile) const { return begin + (end - begin) * tile / count; }
  int64_t size(int64_t tile) const { return first(tile + 1) - first(tile); }
};

inline int64_t vectors(int64_t columns) { return (columns + kLanes - 1) / kLanes; }

// The vectors of a panel of columns, at most.
constexpr int kColumns = 4;

template <int N>
struct Size {
  static constexpr int value = N;
};

// body(Size<rows>, Size<columns>), at most R by C: what is done with a tile, compiled for its size.
template <int R, int C, class Body>
inline void with_tile(int64_t rows, int64_t columns, const Body& body) {
  if constexpr (R > 1) {
    if (rows < R) return with_tile<R - 1, C>(rows, columns, body);
  }
  if constexpr (C > 1) {
    if (columns < C) return with_tile<R, C - 1>(rows, columns, body);
  }
  body(Size<R>{}, Size<C>{});
}
