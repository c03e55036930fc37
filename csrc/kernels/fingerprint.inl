// What stands for the contents of memory: a change of any of it almost surely changes this.

// As in XXH3 (Collet): 32-bit halves multiplied, so that all of a word's bits spread, plus the word
// itself, so that no factor of zero hides the other. The key differs at each place.
inline uint64_t mix(uint64_t word, uint64_t key) {
  const uint64_t mixed = word ^ key;
  return (mixed & 0xffffffff) * (mixed >> 32) + (mixed << 32 | mixed >> 32);
}

inline uint64_t fingerprint(const void* data, int64_t bytes) {
  constexpr uint64_t kStep = 0x9e3779b97f4a7c15;
  const char* p = static_cast<const char*>(data);
  uint64_t key = 0x243f6a8885a308d3;
  uint64_t sum = static_cast<uint64_t>(bytes) * kStep;
#if defined(__AVX512F__)
  __m512i keys =
      _mm512_set_epi64(key, key + kStep, key + 2 * kStep, key + 3 * kStep, key + 4 * kStep,
                       key + 5 * kStep, key + 6 * kStep, key + 7 * kStep);
  const __m512i step = _mm512_set1_epi64(static_cast<int64_t>(8 * kStep));
  __m512i sums[4] = {};
  for (; bytes >= 256; bytes -= 256, p += 256) {
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
      const __m512i mixed = _mm512_xor_si512(_mm512_loadu_si512(p + 64 * i), keys);
      const __m512i swapped = _mm512_shuffle_epi32(mixed, _MM_PERM_CDAB);
      sums[i] =
          _mm512_add_epi64(_mm512_add_epi64(sums[i], _mm512_mul_epu32(mixed, swapped)), swapped);
      keys = _mm512_add_epi64(keys, step);
    }
  }
  alignas(64) uint64_t lanes[32];
  for (int i = 0; i < 4; ++i) _mm512_store_si512(lanes + 8 * i, sums[i]);
  for (const uint64_t lane : lanes) sum = (sum ^ lane) * kStep;
  key = (sum | 1) * kStep;
#endif
  for (; bytes > 0; bytes -= 8, p += 8, key += kStep) {
    uint64_t word = 0;
    __builtin_memcpy(&word, p, bytes < 8 ? static_cast<size_t>(bytes) : 8);
    sum += mix(word, key);
  }
  sum ^= sum >> 31;
  return sum * kStep;
}

// float -> bfloat16.
inline void round_to_bfloat16(const float* from, uint16_t* to, int64_t count) {
  for (int64_t i = 0; i < count; i += kLanes) {
    const Lanes lanes = first_lanes(count - i);
    BFloat16::store(to + i, load(from + i, lanes), lanes);
  }
}
