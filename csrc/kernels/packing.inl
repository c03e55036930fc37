// Weights as the products read them: words of a vector of columns beside each other for each k.

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

// The words of a row from word k on: as many as there are, at most kLanes; the rest is zero.
template <class T>
inline vec row_words(const typename T::Element* row, int64_t depth, int64_t k) {
  const int64_t whole = depth / T::kPerWord - k;
  const float* at = reinterpret_cast<const float*>(row + k * T::kPerWord);
  if (whole >= kLanes) return load(at);
  vec a = load(at, first_lanes(whole > 0 ? whole : 0));
  if (T::kPerWord == 1 || depth % T::kPerWord == 0 || whole < 0) return a;
  ivec bits = floats_as_bits(a);
  bits[whole] = static_cast<int32_t>(row[depth - 1]);
  return bits_as_floats(bits);
}

// weight [columns, depth] row by row, up to kLanes columns -> out [words][stride floats], of which
// kLanes are written; zero behind the last column, and behind the last word where words are filled
// up to blocks.
template <class T>
inline void pack_transposed(const typename T::Element* weight, int64_t columns, int64_t depth,
                            float* out, int64_t stride) {
  const int64_t all = words<T>(depth);
  for (int64_t k = 0; k < all; k += kLanes) {
    vec rows[kLanes] = {};
#pragma GCC unroll 16
    for (int column = 0; column < kLanes; ++column) {
      if (column < columns) rows[column] = row_words<T>(weight + column * depth, depth, k);
    }
    transpose(rows);
#pragma GCC unroll 16
    for (int j = 0; j < kLanes; ++j) {
      if (j < all - k) store(out + (k + j) * stride, rows[j]);
    }
  }
}

// Units of a block of weight [4H, depth] -> out [words][4][kLanes], zero behind H.
template <class T>
inline void pack_gates(const typename T::Element* weight, int64_t hidden, int64_t depth,
                       int64_t unit, float* out) {
  const int64_t units = hidden - unit < kLanes ? hidden - unit : kLanes;
  for (int64_t gate = 0; gate < kGates; ++gate) {
    pack_transposed<T>(weight + (gate * hidden + unit) * depth, units, depth, out + gate * kLanes,
                       kGates * kLanes);
  }
}

// The bias of a block: the sum of both, [4][kLanes].
template <class T>
inline void pack_bias(const Weights<const void*>& weights, int64_t hidden, int64_t unit,
                      float* out) {
  typedef typename T::Element Element;
  const Lanes lanes = first_lanes(hidden - unit);
  for (int64_t gate = 0; gate < kGates; ++gate) {
    vec sum = {};
    if (weights.bias_ih) {
      const int64_t at = gate * hidden + unit;
      sum = T::load(static_cast<const Element*>(weights.bias_ih) + at, lanes) +
            T::load(static_cast<const Element*>(weights.bias_hh) + at, lanes);
    }
    store(out + gate * kLanes, sum);
  }
}

// Where the k-th of the padded gates of a row, [H' / kLanes][4][kLanes], stands among the 4H; -1
// for padding.
inline int64_t gate_row(int64_t k, int64_t hidden) {
  const int64_t unit = k / (kGates * kLanes) * kLanes + k % kLanes;
  return unit < hidden ? k / kLanes % kGates * hidden + unit : -1;
}

// `columns` columns of weight [depth, ld] -> out [words][vectors][kLanes], zero behind the last.
// `row_of(k)` is the row of the weight that stands at k, or negative for zeros.
template <class T, class RowOf>
inline void pack_rows(const typename T::Element* weight, int64_t ld, int64_t columns, int64_t depth,
                      RowOf row_of, float* out) {
  for (int64_t k = 0; k < words<T>(depth) * T::kPerWord; k += T::kPerWord) {
    const int64_t row = k < depth ? row_of(k) : -1;
    const int64_t next = T::kPerWord == 2 && k + 1 < depth ? row_of(k + 1) : -1;
    for (int64_t column = 0; column < columns; column += kLanes, out += kLanes) {
      const Lanes lanes = first_lanes(columns - column);
      const typename T::Element* below = next < 0 ? nullptr : weight + next * ld + column;
      store(out, row < 0 ? vec{} : T::words(weight + row * ld + column, below, lanes));
    }
  }
}
