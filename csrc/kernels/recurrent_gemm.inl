// The recurrent product on register tiles: R rows by C vectors, over packed weights.

// Sums over this many terms are added up apart, so that rounding grows with depth / kDepth.
constexpr int64_t kDepth = 256;

// sum[r][c] += a[r][k] * w[k][c] for k < depth, with w packed [depth][C][kLanes]. Not inlined: amid
// other code GCC would not give every accumulator a register.
template <int R, int C>
__attribute__((noinline)) void accumulate(vec (&sum)[R][C], const float* const* rows, int64_t depth,
                                          const float* w) {
  // A tile too small to hide the latency of an FMA takes turns on several sets of registers.
  constexpr int kSets = R * C >= 8 ? 1 : R * C >= 4 ? 2 : 4;
  vec acc[kSets][R][C] = {};
  const float* a[R];
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) a[r] = rows[r];
  int64_t k = 0;
  for (; k + kSets <= depth; k += kSets, w += kSets * C * kLanes) {
#pragma GCC unroll 4
    for (int s = 0; s < kSets; ++s) {
      vec weight[C];
#pragma GCC unroll 4
      for (int c = 0; c < C; ++c) weight[c] = load(w + (s * C + c) * kLanes);
#pragma GCC unroll 8
      for (int r = 0; r < R; ++r) {
        const vec x = broadcast(a[r][k + s]);
#pragma GCC unroll 4
        for (int c = 0; c < C; ++c) acc[s][r][c] += x * weight[c];
      }
    }
  }
  for (; k < depth; ++k, w += C * kLanes) {
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
      for (int c = 0; c < C; ++c) acc[0][r][c] += broadcast(a[r][k]) * load(w + c * kLanes);
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
    for (int c = 0; c < C; ++c) {
#pragma GCC unroll 4
      for (int s = 0; s < kSets; ++s) sum[r][c] += acc[s][r][c];
    }
  }
}

// sum[r][c] += rows[r] . w[:][c]
template <int R, int C>
inline void add_product(vec (&sum)[R][C], const float* const* rows, int64_t depth, const float* w) {
  const float* a[R];
  for (int r = 0; r < R; ++r) a[r] = rows[r];
  for (int64_t k = 0; k < depth; k += kDepth) {
    const int64_t n = depth - k < kDepth ? depth - k : kDepth;
    accumulate<R, C>(sum, a, n, w + k * C * kLanes);
    for (int r = 0; r < R; ++r) a[r] += n;
  }
}

// A number of rows or vectors, cut into tiles of nearly equal size, none larger than `largest`.
struct Tiles {
  int64_t begin, end, count;

  Tiles(int64_t begin, int64_t end, int64_t largest)
      : begin(begin), end(end), count(begin < end ? (end - begin + largest - 1) / largest : 0) {}
  int64_t first(int64_t tile) const { return begin + (end - begin) * tile / count; }
};

inline int64_t vectors(int64_t hidden) { return (hidden + kLanes - 1) / kLanes; }

// A block of hidden units is a vector of them in the forward pass, up to kColumns in backward.
constexpr int kColumns = 4;

// Floats of a weight [4H, depth] once packed.
inline int64_t packed_size(int64_t hidden, int64_t depth) {
  return kGates * depth * vectors(hidden) * kLanes;
}
