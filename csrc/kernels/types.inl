// The types that a layer computes in. Products are summed, and the pointwise part is done, in
// float.
//
// Operands of a product are read in words of 32 bits: one float, or two bfloat16 that follow each
// other along k, the dimension that is summed over. A word of an operand that ends within it is
// filled with zero.

// What a thread sets up before it multiplies: nothing.
struct NoUnit {
  ~NoUnit() {}
};

struct Float32 {
  typedef float Element;
  typedef NoUnit Unit;
  static constexpr bool kInteger = false;
  static constexpr bool kStrips = false;  // whether products are made as in strips.inl
  static constexpr int64_t kPerWord = 1;
  static constexpr int64_t kHeader = 0;  // words before those of a packed block
  static constexpr int kParts = 1;       // products that one pair of words takes

  static vec load(const float* p) { return FASTLSTM_ISA::load(p); }
  static vec load(const float* p, Lanes m) { return FASTLSTM_ISA::load(p, m); }
  static void store(float* p, vec a) { FASTLSTM_ISA::store(p, a); }
  static void store(float* p, vec a, Lanes m) { FASTLSTM_ISA::store(p, a, m); }
  static vec part(vec word, int) { return word; }
  static vec multiply_add(vec a, vec b, vec sum) { return a * b + sum; }
  // Words of kLanes columns of one row.
  static vec words(const float* row, const float*, Lanes m) { return load(row, m); }
};

inline vec bits_as_floats(ivec a) { return reinterpret_cast<vec>(a); }
inline ivec floats_as_bits(vec a) { return reinterpret_cast<ivec>(a); }

// The upper half of a float: Brain floating point.
struct BFloat16 {
  typedef uint16_t Element;
  static constexpr bool kInteger = false;
#if defined(__AMX_BF16__)
  typedef TileUnit Unit;
  static constexpr bool kStrips = true;
#else
  typedef NoUnit Unit;
  static constexpr bool kStrips = false;
#endif
  static constexpr int64_t kPerWord = 2;
  static constexpr int64_t kHeader = 0;
#if defined(__AVX512BF16__)
  static constexpr int kParts = 1;
  static vec part(vec word, int) { return word; }
  static vec multiply_add(vec a, vec b, vec sum) {
    return _mm512_dpbf16_ps(sum, reinterpret_cast<__m512bh>(a), reinterpret_cast<__m512bh>(b));
  }
#else
  static constexpr int kParts = 2;
  static vec part(vec word, int which) {
    const ivec bits = floats_as_bits(word);
    return bits_as_floats(which == 0 ? bits << 16 : bits & static_cast<int32_t>(0xffff0000));
  }
  static vec multiply_add(vec a, vec b, vec sum) { return a * b + sum; }
#endif

  static vec load(const uint16_t* p) { return bits_as_floats(widen(p) << 16); }
  static vec load(const uint16_t* p, Lanes m) { return bits_as_floats(widen(p, m) << 16); }
#if defined(__AVX512BF16__)
  static void store(uint16_t* p, vec a) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p),
                        reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(a)));
  }
  static void store(uint16_t* p, vec a, Lanes m) {
    _mm256_mask_storeu_epi16(p, m, reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(a)));
  }
#else
  static void store(uint16_t* p, vec a) { narrow(p, round(a)); }
  static void store(uint16_t* p, vec a, Lanes m) { narrow(p, round(a), m); }
#endif
  // Words of kLanes columns of two rows that follow each other along k; the second may be null.
  static vec words(const uint16_t* row, const uint16_t* next, Lanes m) {
    const ivec low = widen(row, m);
    return bits_as_floats(next ? low | (widen(next, m) << 16) : low);
  }

 private:
  // To the nearest, ties to even, in the lower half of each lane; NaN stays NaN.
  static ivec round(vec a) {
    const ivec bits = floats_as_bits(a);
    const ivec odd = (bits >> 16) & 1;
    const ivec rounded = ((bits + 0x7fff + odd) >> 16) & 0xffff;
    const ivec quiet = ((bits >> 16) & 0xffff) | 0x40;
    return a == a ? rounded : quiet;
  }

#if defined(__AVX512F__)
  static ivec widen(const uint16_t* p) {
    return reinterpret_cast<ivec>(
        _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))));
  }
  static ivec widen(const uint16_t* p, Lanes m) {
    return reinterpret_cast<ivec>(_mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(m, p)));
  }
  static void narrow(uint16_t* p, ivec a) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p),
                        _mm512_cvtepi32_epi16(reinterpret_cast<__m512i>(a)));
  }
  static void narrow(uint16_t* p, ivec a, Lanes m) {
    _mm256_mask_storeu_epi16(p, m, _mm512_cvtepi32_epi16(reinterpret_cast<__m512i>(a)));
  }
#elif defined(__AVX2__)
  static ivec widen(const uint16_t* p) {
    return reinterpret_cast<ivec>(
        _mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))));
  }
  static ivec widen(const uint16_t* p, Lanes m) {
    ivec a = {};
    const ivec wanted = reinterpret_cast<ivec>(m);
    for (int i = 0; i < kLanes && wanted[i]; ++i) a[i] = p[i];
    return a;
  }
  static void narrow(uint16_t* p, ivec a) {
    const __m256i pairs = _mm256_packus_epi32(reinterpret_cast<__m256i>(a), __m256i{});
    const __m256i joined = _mm256_permute4x64_epi64(pairs, 0b1000);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm256_castsi256_si128(joined));
  }
  static void narrow(uint16_t* p, ivec a, Lanes m) {
    const ivec wanted = reinterpret_cast<ivec>(m);
    for (int i = 0; i < kLanes && wanted[i]; ++i) p[i] = static_cast<uint16_t>(a[i]);
  }
#else
  static ivec widen(const uint16_t* p) { return widen(p, {kLanes}); }
  static ivec widen(const uint16_t* p, Lanes m) {
    ivec a = {};
#pragma GCC unroll 4
    for (int i = 0; i < kLanes; ++i) {
      if (i < m.count) a[i] = p[i];
    }
    return a;
  }
  static void narrow(uint16_t* p, ivec a) { narrow(p, a, {kLanes}); }
  static void narrow(uint16_t* p, ivec a, Lanes m) {
#pragma GCC unroll 4
    for (int i = 0; i < kLanes; ++i) {
      if (i < m.count) p[i] = static_cast<uint16_t>(a[i]);
    }
  }
#endif
};

// From index `at` of a buffer of T, or of float if `wide`, as with integers it always is.
template <class T>
inline vec load_as(bool wide, const void* buffer, int64_t at, Lanes m) {
  if constexpr (!T::kInteger) {
    if (!wide) return T::load(static_cast<const typename T::Element*>(buffer) + at, m);
  }
  return load(static_cast<const float*>(buffer) + at, m);
}
template <class T>
inline void store_as(bool wide, void* buffer, int64_t at, vec a, Lanes m) {
  if constexpr (!T::kInteger) {
    if (!wide) return T::store(static_cast<typename T::Element*>(buffer) + at, a, m);
  }
  store(static_cast<float*>(buffer) + at, a, m);
}

// Words that hold `depth` elements; in strips, whole blocks of kLanes.
template <class T>
inline int64_t words(int64_t depth) {
  const int64_t all = (depth + T::kPerWord - 1) / T::kPerWord;
  return T::kStrips ? (all + kLanes - 1) / kLanes * kLanes : all;
}

// Those of a packed block of units, its header included.
template <class T>
inline int64_t packed_words(int64_t depth) {
  return T::kHeader + words<T>(depth);
}

// Elements from one row of an operand that the kernels made to the next.
template <class T>
inline int64_t row_size(int64_t elements) {
  return T::kInteger ? (elements + kLanes - 1) / kLanes * kLanes : elements;
}

// body(Float32) or body(BFloat16).
template <class Body>
inline auto with_type(Type type, const Body& body) {
  return type == Type::kFloat32 ? body(Float32{}) : body(BFloat16{});
}
