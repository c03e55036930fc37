// A vector of floats of the width of the instruction set that this file is compiled for.
//
// Arithmetic is the compiler's own on vector types; a * b + c contracts to one FMA where there is
// one. What the operators do not cover stands below, once for each instruction set.

typedef int32_t ivec __attribute__((vector_size(4 * kLanes)));
typedef float vec __attribute__((vector_size(4 * kLanes)));
// Anywhere in memory, whatever is there: words of bfloat16 stand on odd boundaries.
typedef float loose_vec __attribute__((vector_size(4 * kLanes), aligned(1), may_alias));
typedef float loose_float __attribute__((aligned(1), may_alias));

inline vec load(const float* p) { return *reinterpret_cast<const loose_vec*>(p); }
inline void store(float* p, vec a) { *reinterpret_cast<loose_vec*>(p) = a; }
inline void prefetch(const void* p) { __builtin_prefetch(p); }
inline void prefetch_for_write(const void* p) { __builtin_prefetch(p, 1); }
inline vec broadcast(float a) { return a - vec{}; }  // a + 0 would not fold: -0 + 0 is 0

#if defined(__AVX512F__)

typedef __mmask16 Lanes;
inline Lanes first_lanes(int64_t n) { return n >= kLanes ? 0xffff : (1u << n) - 1; }
inline vec load(const float* p, Lanes m) { return _mm512_maskz_loadu_ps(m, p); }
inline void store(float* p, vec a, Lanes m) { _mm512_mask_storeu_ps(p, m, a); }
inline vec keep(vec a, Lanes m) { return _mm512_maskz_mov_ps(m, a); }  // the other lanes: zero
// NaN in `a` passes, as the hardware returns its second operand.
inline vec at_least(vec a, vec low) { return _mm512_max_ps(low, a); }
inline vec at_most(vec a, vec high) { return _mm512_min_ps(high, a); }
// 1 / a to about one ulp, without the division unit: it is the bottleneck of the pointwise part.
inline vec reciprocal(vec a) {
  const vec estimate = _mm512_rcp14_ps(a);
  return estimate + estimate * (1.0f - a * estimate);
}
// Every lane the 32 bits at p, whatever they mean.
inline vec broadcast_word(const void* p) {
  return _mm512_set1_ps(*static_cast<const loose_float*>(p));
}

#elif defined(__AVX2__)

typedef __m256i Lanes;
inline Lanes first_lanes(int64_t n) {
  const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(n >= kLanes ? kLanes : static_cast<int>(n)), lane);
}
inline vec load(const float* p, Lanes m) { return _mm256_maskload_ps(p, m); }
inline void store(float* p, vec a, Lanes m) { _mm256_maskstore_ps(p, m, a); }
inline vec keep(vec a, Lanes m) { return _mm256_and_ps(a, _mm256_castsi256_ps(m)); }
inline vec at_least(vec a, vec low) { return _mm256_max_ps(low, a); }
inline vec at_most(vec a, vec high) { return _mm256_min_ps(high, a); }
inline vec reciprocal(vec a) { return 1.0f / a; }
inline vec broadcast_word(const void* p) {
  return _mm256_broadcast_ss(static_cast<const loose_float*>(p));
}

#else  // portable: SSE2, NEON, anything GCC and Clang know

struct Lanes {
  int64_t count;
};
inline Lanes first_lanes(int64_t n) { return {n >= kLanes ? kLanes : n}; }
// Loops over lanes have a constant length: else GCC takes them for memcpy, and calls it.
inline vec load(const float* p, Lanes m) {
  if (m.count >= kLanes) return load(p);
  const loose_float* from = reinterpret_cast<const loose_float*>(p);
  vec a = {};
#pragma GCC unroll 4
  for (int i = 0; i < kLanes; ++i) {
    if (i < m.count) a[i] = from[i];
  }
  return a;
}
inline void store(float* p, vec a, Lanes m) {
  if (m.count >= kLanes) return store(p, a);
#pragma GCC unroll 4
  for (int i = 0; i < kLanes; ++i) {
    if (i < m.count) p[i] = a[i];
  }
}
inline vec keep(vec a, Lanes m) {
#pragma GCC unroll 4
  for (int i = 0; i < kLanes; ++i) {
    if (i >= m.count) a[i] = 0;
  }
  return a;
}
inline vec at_least(vec a, vec low) { return a < low ? low : a; }
inline vec at_most(vec a, vec high) { return a > high ? high : a; }
inline vec reciprocal(vec a) { return 1.0f / a; }
inline vec broadcast_word(const void* p) { return *static_cast<const loose_float*>(p) - vec{}; }

#endif
