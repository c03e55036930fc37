// Random numbers of a pass, each from a counter of its own: so forward, backward and any split over
// threads draw the same. Philox 4x32 of 7 rounds (Salmon et al. 2011).

typedef uint32_t uvec __attribute__((vector_size(4 * kLanes)));
typedef uint64_t wide_uvec __attribute__((vector_size(8 * kLanes)));

// Two numbers from 0 to 2^24 - 1 a lane.
struct Draw {
  ivec first, second;
};

// The halves of a 64-bit product.
inline void multiply_wide(uvec a, uint32_t by, uvec& high, uvec& low) {
  const wide_uvec product = __builtin_convertvector(a, wide_uvec) * static_cast<uint64_t>(by);
  high = __builtin_convertvector(product >> 32, uvec);
  low = a * by;
}

// The counter is (unit, b, t, stream), a lane a unit.
inline Draw draw(uint64_t seed, int64_t unit, int64_t b, uint32_t t, uint32_t stream) {
  uvec c0, c1 = uvec{} + static_cast<uint32_t>(b), c2 = uvec{} + t, c3 = uvec{} + stream;
  for (int i = 0; i < kLanes; ++i) c0[i] = static_cast<uint32_t>(unit + i);
  uint32_t k0 = static_cast<uint32_t>(seed), k1 = static_cast<uint32_t>(seed >> 32);
  for (int round = 0; round < 7; ++round) {
    uvec high0, low0, high1, low1;
    multiply_wide(c0, 0xD2511F53u, high0, low0);
    multiply_wide(c2, 0xCD9E8D57u, high1, low1);
    c0 = high1 ^ c1 ^ k0;
    c1 = low1;
    c2 = high0 ^ c3 ^ k1;
    c3 = low0;
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  return {reinterpret_cast<ivec>(c0 >> 8), reinterpret_cast<ivec>(c1 >> 8)};
}

// All ones in the lanes where something of this probability happens.
inline ivec happens(ivec number, double probability) {
  return number < ivec{} + static_cast<int32_t>(probability * (1 << 24));
}

inline uint32_t stream_of(const Noise& noise, int64_t direction) {
  return static_cast<uint32_t>(noise.layer * kMaxDirections + direction);
}

// The mask of h for row b, the same at all steps: 0, or 1 / (1 - dropout).
inline vec dropout_mask(const Noise& noise, int64_t direction, int64_t b, int64_t unit) {
  const uint32_t kAllSteps = 0xffffffffu;
  const Draw numbers = draw(noise.seed, unit, b, kAllSteps, stream_of(noise, direction));
  const double scale = noise.dropout < 1 ? 1 / (1 - noise.dropout) : 0;
  return happens(numbers.first, noise.dropout) ? vec{} : broadcast(static_cast<float>(scale));
}

// Zoneout (Krueger et al. 2017) of one row and vector of units at one step.
struct Zoneout {
  bool expected;
  double c_rate, h_rate;
  ivec c_kept = {}, h_kept = {};

  Zoneout(const Noise& noise, const Step& step, int64_t b, int64_t unit)
      : expected(noise.expected), c_rate(noise.zoneout_c), h_rate(noise.zoneout_h) {
    if (expected) return;
    const uint32_t t = static_cast<uint32_t>(step.t);
    const Draw numbers = draw(noise.seed, unit, b, t, stream_of(noise, step.direction));
    c_kept = happens(numbers.first, c_rate);
    h_kept = happens(numbers.second, h_rate);
  }

  vec c(vec before, vec now) const { return mix(c_rate, c_kept, before, now); }
  vec h(vec before, vec now) const { return mix(h_rate, h_kept, before, now); }
  // The parts of a gradient that go to the state before, and to the one now.
  vec c_before(vec d) const { return mix(c_rate, c_kept, d, vec{}); }
  vec c_now(vec d) const { return mix(c_rate, c_kept, vec{}, d); }
  vec h_before(vec d) const { return mix(h_rate, h_kept, d, vec{}); }
  vec h_now(vec d) const { return mix(h_rate, h_kept, vec{}, d); }

 private:
  vec mix(double rate, ivec kept, vec before, vec now) const {
    if (rate == 0) return now;  // 0 * Inf would be NaN
    const vec p = broadcast(static_cast<float>(rate));
    return expected ? p * before + (1.0f - p) * now : kept ? before : now;
  }
};

// What the gates see of h.
inline vec dropped(vec h, vec mask) { return mask == vec{} ? vec{} : h * mask; }

// The mask of row b of a pass, and its h_0 as the first gates see it; h_0 is [D, B, O].
template <class T, class Pass>
void begin_dropout(const Pass& f, int64_t direction, int64_t b, bool wide, const void* h_0) {
  const int64_t size = f.shape.output();
  for (int64_t j = 0; j < size; j += kLanes) {
    const Lanes lanes = first_lanes(size - j);
    const vec mask = dropout_mask(f.args.noise, direction, b, j);
    const vec h = load_as<T>(wide, h_0, (direction * f.shape.batch + b) * size + j, lanes);
    store(f.mask[direction] + b * size + j, mask, lanes);
    T::store(f.dropped_h_0[direction] + b * size + j, dropped(h, mask), lanes);
  }
}
