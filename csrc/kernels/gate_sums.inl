// The products of a step's gates, of any type.

#if defined(__AVX512VNNI__)
// The sums of R rows with a block of C vectors of columns. Of the two bytes of x or h the high ones
// and the low ones have sums of their own.
template <int R, int C>
__attribute__((noinline)) void int8_sums(vec (&sums)[R][C], const char* const* rows,
                                         const float* units, int64_t depth, const float* weights) {
  __m512i high[R][C], low[R][C];
#pragma GCC unroll 4
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
    for (int c = 0; c < C; ++c) {
      high[r][c] = reinterpret_cast<__m512i>(load(weights + (C + c) * kLanes));
      low[r][c] = __m512i{};
    }
  }
  const float* w = weights + Int8::kHeader * C * kLanes;
  for (int64_t k = 0; k < depth; ++k, w += C * kLanes) {
    __m512i weight[C];
#pragma GCC unroll 4
    for (int c = 0; c < C; ++c) weight[c] = reinterpret_cast<__m512i>(load(w + c * kLanes));
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r) {
      const __m512i x_high = reinterpret_cast<__m512i>(broadcast_word(rows[r] + k * 8));
      const __m512i x_low = reinterpret_cast<__m512i>(broadcast_word(rows[r] + k * 8 + 4));
#pragma GCC unroll 4
      for (int c = 0; c < C; ++c) {
        high[r][c] = _mm512_dpbusd_epi32(high[r][c], x_high, weight[c]);
        low[r][c] = _mm512_dpbusd_epi32(low[r][c], x_low, weight[c]);
      }
    }
  }
#pragma GCC unroll 4
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
    for (int c = 0; c < C; ++c) {
      const vec total = _mm512_cvtepi32_ps(high[r][c]) * 256 + _mm512_cvtepi32_ps(low[r][c]);
      sums[r][c] = total * (load(weights + c * kLanes) * units[r]);
    }
  }
}

// See gate_sums.
template <int R, int S>
inline void int8_gate_sums(vec (&sum)[R][S * kGates], const Factor<R>* factors, int count,
                           const float* const* start) {
  constexpr int kTogether = R < 3 ? R : (R + 1) / 2;  // at most 3, whose sums fit the registers
  for (int block = 0; block < S; ++block) {
    for (int r = 0; r < R; ++r) {
      for (int c = 0; c < kGates; ++c) {
        sum[r][block * kGates + c] = load(start[r] + (block * kGates + c) * kLanes);
      }
    }
    for (int n = 0; n < count; ++n) {
      const Factor<R>& f = factors[n];
      const int64_t depth = f.depth + f.half;
      const float* weights = f.weights + block * f.apart;
      const auto add = [&](auto rows, int first) {
        constexpr int kOwn = decltype(rows)::value;
        vec own[kOwn][kGates];
        int8_sums<kOwn, kGates>(own, f.rows + first, f.units + first, depth, weights);
        for (int r = 0; r < kOwn; ++r) {
          for (int c = 0; c < kGates; ++c) sum[first + r][block * kGates + c] += own[r][c];
        }
      };
      add(Size<kTogether>{}, 0);
      if constexpr (R > kTogether) add(Size<R - kTogether>{}, kTogether);
    }
  }
}
#endif

// sum = the rows of `start` plus `count` products of R rows with S blocks of units.
template <class T, int R, int S>
inline __attribute__((always_inline)) void gate_sums(vec (&sum)[R][S * kGates],
                                                     const Factor<R>* factors, int count,
                                                     const float* const* start) {
#if defined(__AVX512VNNI__)
  if constexpr (T::kInteger) return int8_gate_sums<R, S>(sum, factors, count, start);
#endif
  if constexpr (!T::kInteger) product<T, R, kGates, S>(sum, factors, count, start);
}
