// The pointwise part of an LSTM step, forward and backward, on vectors of hidden units.
//
//   c_t = f * c_{t-1} + i * g        h_t = o * tanh(c_t)
//
// Hochreiter & Schmidhuber 1997, with the forget gate of Gers et al. 2000. Chains of dependent
// operations are long and the processor looks only so far ahead: several run side by side, each
// operation on all of them before the next.

// exp(x) = 2^n * (1 + expm1), with |r| <= ln(2)/2 in expm1(r). NaN stays NaN.
template <int N>
struct Exponential {
  vec power[N];  // 2^n
  vec expm1[N];
};

// |x| must be at most 87, so that 2^n is a normal number.
template <int N>
inline __attribute__((always_inline)) Exponential<N> exponential(const vec (&x)[N]) {
  // Adding 1.5 * 2^23 rounds to an integer, which then stands in the low bits of the sum.
  const vec magic = broadcast(12582912.0f);
  Exponential<N> e;
  vec shifted[N], n[N], r[N], p[N];
#pragma GCC unroll 8
  for (int i = 0; i < N; ++i) shifted[i] = x[i] * 1.44269504f + magic;
#pragma GCC unroll 8
  for (int i = 0; i < N; ++i) n[i] = shifted[i] - magic;
  // ln(2) in two parts, the first with few enough bits that n times it is exact.
#pragma GCC unroll 8
  for (int i = 0; i < N; ++i) r[i] = (x[i] - n[i] * 0.693359375f) + n[i] * 2.12194440e-4f;
  // Minimax for (e^r - 1) / r: relative error 1.1e-8 (Remez, degree 5).
#pragma GCC unroll 8
  for (int i = 0; i < N; ++i) p[i] = r[i] * 1.388887728e-3f + 8.369075678e-3f;
#pragma GCC unroll 8
  for (int i = 0; i < N; ++i) p[i] = p[i] * r[i] + 4.166713633e-2f;
#pragma GCC unroll 8
  for (int i = 0; i < N; ++i) p[i] = p[i] * r[i] + 1.666650616e-1f;
#pragma GCC unroll 8
  for (int i = 0; i < N; ++i) p[i] = p[i] * r[i] + 4.999999812e-1f;
#pragma GCC unroll 8
  for (int i = 0; i < N; ++i) p[i] = p[i] * r[i] + 1.0f;
#pragma GCC unroll 8
  for (int i = 0; i < N; ++i) {
    const ivec exponent = floats_as_bits(shifted[i]) << 23;
    e.power[i] = bits_as_floats(floats_as_bits(broadcast(1.0f)) + exponent);
    e.expm1[i] = p[i] * r[i];
  }
  return e;
}

inline vec clamp(vec x, float limit) {
  return at_most(at_least(x, broadcast(-limit)), broadcast(limit));
}

constexpr float kSigmoidLimit = 87.0f;
constexpr float kTanhLimit = 9.05f;  // beyond it tanh rounds to 1

// tanh(x) = (e^2x - 1) / (e^2x + 1), by way of expm1 so that small x keep their digits.
template <int N>
inline __attribute__((always_inline)) void tanh(vec (&x)[N]) {
  vec twice[N];
#pragma GCC unroll 8
  for (int i = 0; i < N; ++i) twice[i] = clamp(x[i] + x[i], 2 * kTanhLimit);
  const Exponential<N> e = exponential(twice);
#pragma GCC unroll 8
  for (int i = 0; i < N; ++i) {
    const vec expm1 = e.power[i] * e.expm1[i] + (e.power[i] - 1.0f);
    x[i] = expm1 * reciprocal(expm1 + 2.0f);
  }
}

// Pre-activations of one vector of units -> i, f, g, o: sigmoid, but tanh for g.
inline __attribute__((always_inline)) void activate(vec (&z)[kGates]) {
  vec x[kGates];
#pragma GCC unroll 4
  for (int i = 0; i < kGates; ++i) {
    x[i] = i == 2 ? clamp(z[i] + z[i], 2 * kTanhLimit) : clamp(-z[i], kSigmoidLimit);
  }
  const Exponential<kGates> e = exponential(x);
  vec sum[kGates];
  vec inverse[kGates];
#pragma GCC unroll 4
  for (int i = 0; i < kGates; ++i) {
    sum[i] = e.power[i] * e.expm1[i] + (i == 2 ? e.power[i] - 1.0f : e.power[i]);
  }
#pragma GCC unroll 4
  for (int i = 0; i < kGates; ++i) inverse[i] = reciprocal(sum[i] + (i == 2 ? 2.0f : 1.0f));
#pragma GCC unroll 4
  for (int i = 0; i < kGates; ++i) {
    // 0 and not 1e-38: it may meet an infinite c
    z[i] = i == 2 ? sum[i] * inverse[i] : z[i] < -kSigmoidLimit ? vec{} : inverse[i];
  }
}

struct CellGradient {
  vec dgates[kGates];  // of the pre-activations
  vec dc_prev;
};

inline CellGradient cell_backward(const vec (&a)[kGates], vec tanh_c, vec c_prev, vec dh,
                                  vec dc_next) {
  const vec i = a[0], f = a[1], g = a[2], o = a[3];
  const vec dh_o = dh * o;
  const vec dc = dc_next + dh_o * (1.0f - tanh_c * tanh_c);
  const vec dc_f = dc * f;
  return {{dc * g * i * (1.0f - i), dc_f * c_prev * (1.0f - f), dc * i * (1.0f - g * g),
           dh_o * tanh_c * (1.0f - o)},
          dc_f};
}
