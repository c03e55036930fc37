// Weights as the products read them: a vector of units beside each other for each gate and k.

template <int... J>
struct Indices {};
template <int N, int... J>
struct CountTo : CountTo<N - 1, N - 1, J...> {};
template <int... J>
struct CountTo<0, J...> {
  typedef Indices<J...> type;
};

// Of two rows of blocks of S columns, the even blocks of both, and the odd ones.
template <int S, int... J>
inline vec even_blocks(vec a, vec b, Indices<J...>) {
  return __builtin_shufflevector(a, b, ((J & S) ? kLanes + J - S : J)...);
}
template <int S, int... J>
inline vec odd_blocks(vec a, vec b, Indices<J...>) {
  return __builtin_shufflevector(a, b, ((J & S) ? kLanes + J : J + S)...);
}

// Transposes a square: swaps its two off-diagonal blocks of S by S, then those within blocks.
template <int S = kLanes / 2>
inline void transpose(vec (&rows)[kLanes]) {
  constexpr CountTo<kLanes>::type lanes;
#pragma GCC unroll 16
  for (int i = 0; i < kLanes; ++i) {
    if (i & S) continue;
    const vec a = rows[i];
    const vec b = rows[i + S];
    rows[i] = even_blocks<S>(a, b, lanes);
    rows[i + S] = odd_blocks<S>(a, b, lanes);
  }
  if constexpr (S > 1) transpose<S / 2>(rows);
}

// weight [4H, depth], units first .. first + kLanes -> out [depth][4][kLanes], zeros behind H.
inline void pack_gates(const float* weight, int64_t hidden, int64_t depth, int64_t first,
                       float* out) {
  const int64_t units = hidden - first < kLanes ? hidden - first : kLanes;
  for (int64_t k = 0; k < depth; k += kLanes) {
    const int64_t columns = depth - k < kLanes ? depth - k : kLanes;
    const Lanes lanes = first_lanes(columns);
    for (int64_t gate = 0; gate < kGates; ++gate) {
      const float* square = weight + (gate * hidden + first) * depth + k;
      vec rows[kLanes] = {};
#pragma GCC unroll 16
      for (int unit = 0; unit < kLanes; ++unit) {
        if (unit < units) rows[unit] = load(square + unit * depth, lanes);
      }
      transpose(rows);
      float* to = out + (k * kGates + gate) * kLanes;
#pragma GCC unroll 16
      for (int j = 0; j < kLanes; ++j) {
        if (j < columns) store(to + j * kGates * kLanes, rows[j]);
      }
    }
  }
}

// Columns first .. of weight_hh [4H, H] -> out [4H][columns][kLanes], zeros behind H.
inline void pack_columns(const float* weight_hh, int64_t hidden, int64_t first, int64_t columns,
                         float* out) {
  const Lanes tail = first_lanes(hidden - first - (columns - 1) * kLanes);
  for (int64_t k = 0; k < kGates * hidden; ++k) {
    const float* row = weight_hh + k * hidden + first;
    for (int64_t c = 0; c + 1 < columns; ++c, out += kLanes) store(out, load(row + c * kLanes));
    store(out, load(row + (columns - 1) * kLanes, tail));
    out += kLanes;
  }
}
