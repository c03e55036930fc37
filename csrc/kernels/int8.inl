// Weights of 8 bits with a scale per row of the weight, that is per gate and unit. Where one
// instruction multiplies four of them by four unsigned bytes and sums, x and h are integers of 16
// bits in units of their own for each row, as two bytes: products are exact, so their order does
// not matter. Elsewhere weights are rounded to what 8 bits hold, and all else is as for float.

// The largest magnitude of a row; NaN if one is NaN.
inline float largest_magnitude(const float* row, int64_t size) {
  ivec most = {};
  for (int64_t k = 0; k < size; k += kLanes) {
    const ivec bits = floats_as_bits(load(row + k, first_lanes(size - k))) & 0x7fffffff;
    most = bits > most ? bits : most;
  }
  int32_t all = 0;
  for (int lane = 0; lane < kLanes; ++lane) all = most[lane] > all ? most[lane] : all;
  float magnitude;
  __builtin_memcpy(&magnitude, &all, sizeof(magnitude));
  return magnitude;
}

// What 1 stands for in the 8 bits of a row of a weight.
inline float int8_scale(const float* row, int64_t size) {
  const float largest = largest_magnitude(row, size);
  return largest == 0 ? 1 : largest / 127;
}

// Rows of a weight [rows, depth] -> the same, rounded to what 8 bits hold.
inline void round_to_int8(const float* from, float* to, int64_t rows, int64_t depth) {
  const vec magic = broadcast(12582912.0f);  // 1.5 * 2^23: adding it rounds to an integer
  for (int64_t row = 0; row < rows; ++row, from += depth, to += depth) {
    const vec scale = broadcast(int8_scale(from, depth));
    for (int64_t k = 0; k < depth; k += kLanes) {
      const Lanes lanes = first_lanes(depth - k);
      const vec shifted = load(from + k, lanes) / scale + magic;
      store(to + k, (shifted - magic) * scale, lanes);
    }
  }
}

#if defined(__AVX512VNNI__)
constexpr bool kMultipliesInt8 = true;

// x and h: 16 bits with an offset, 16 of them as four times [4 high bytes][4 low bytes]. A word of
// a weight is four of 8 bits that follow each other along k.
struct Int8 {
  typedef uint16_t Element;
  typedef NoUnit Unit;
  static constexpr bool kInteger = true;
  static constexpr bool kStrips = false;
  static constexpr int64_t kPerWord = 4;
  static constexpr int64_t kHeader = 2;  // words before those of a block: its scales, and the start
  static constexpr int32_t kOffset = 32768;

  static void store(uint16_t* p, vec a) {  // in units; NaN becomes 0
    const __m512i offset = _mm512_set1_epi32(kOffset);
    const __m512i wide = _mm512_add_epi32(_mm512_cvtps_epi32(a), offset);
    const __m256i order = _mm256_broadcastsi128_si256(
        _mm_setr_epi8(1, 3, 5, 7, 0, 2, 4, 6, 9, 11, 13, 15, 8, 10, 12, 14));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p),
                        _mm256_shuffle_epi8(_mm512_cvtepi32_epi16(wide), order));
  }
  // A row is whole vectors: what is behind its last element meets weights of zero.
  static void store(uint16_t* p, vec a, Lanes) { store(p, a); }
};

// A row of x or h in units of which the largest magnitude, or `least` where that is more, has
// 32767. Returns what one of them stands for.
inline float store_in_units(const float* row, int64_t size, float least, uint16_t* to) {
  const float largest = largest_magnitude(row, size);
  const float unit = (largest < least ? least : largest) / 32767;
  const float inverse = 1 / unit;
  for (int64_t k = 0; k < size; k += kLanes) {
    Int8::store(to + k, load(row + k, first_lanes(size - k)) * inverse);
  }
  return unit;
}

// 64 weights of a row from k on, 16 words; zero behind the last.
inline vec int8_words(const float* row, int64_t depth, int64_t k, vec scale) {
  alignas(64) int8_t bytes[4 * kLanes];
  for (int part = 0; part < 4; ++part) {
    const int64_t at = k + part * kLanes;
    const Lanes lanes = first_lanes(depth > at ? depth - at : 0);
    const __m512i rounded = _mm512_cvtps_epi32(load(row + at, lanes) / scale);
    _mm_store_si128(reinterpret_cast<__m128i*>(bytes + part * kLanes),
                    _mm512_cvtsepi32_epi8(rounded));
  }
  return load(reinterpret_cast<const float*>(bytes));
}

// One gate of a block: `units` rows of a weight [4H, depth] from `weight` on -> every fourth vector
// of out [2 + words][4][kLanes]. The sums start from what the offset of x or h would add.
inline void pack_int8_gate(const float* weight, int64_t units, int64_t depth, float* out) {
  constexpr int64_t kStride = kGates * kLanes;
  vec scales = {};
  for (int64_t n = 0; n < units; ++n) scales[n] = int8_scale(weight + n * depth, depth);
  store(out, scales);
  __m512i sum = {};
  const int64_t all = words<Int8>(depth);
  for (int64_t k = 0; k < all; k += kLanes) {
    vec rows[kLanes] = {};
    for (int64_t n = 0; n < units; ++n) {
      const float* row = weight + n * depth;
      rows[n] = int8_words(row, depth, k * Int8::kPerWord, broadcast(scales[n]));
    }
    transpose(rows);
    for (int64_t j = 0; j < kLanes && k + j < all; ++j) {
      sum = _mm512_dpbusd_epi32(sum, _mm512_set1_epi8(1), reinterpret_cast<__m512i>(rows[j]));
      store(out + (Int8::kHeader + k + j) * kStride, rows[j]);
    }
  }
  const __m512i start = _mm512_mullo_epi32(sum, _mm512_set1_epi32(-Int8::kOffset / 256));
  store(out + kStride, reinterpret_cast<vec>(start));
}
#else
constexpr bool kMultipliesInt8 = false;
#endif

// body of the type that a layer computes in, forward.
template <class Body>
inline auto with_forward_type(Type type, const Body& body) {
#if defined(__AVX512VNNI__)
  if (type == Type::kInt8) return body(Int8{});
#endif
  return with_type(type, body);
}
