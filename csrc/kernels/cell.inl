// The pointwise part of an LSTM step, forward and backward, on vectors of hidden units.
//
//   c_t = f * c_{t-1} + i * g        h_t = o * tanh(c_t)
//
// Hochreiter & Schmidhuber 1997, with the forget gate of Gers et al. 2000.

// exp(x) = 2^n * (1 + expm1), with |r| <= ln(2)/2 in expm1(r). NaN stays NaN.
struct Exponential {
  vec power;  // 2^n
  vec expm1;
};

// |x| must be at most 87, so that 2^n is a normal number.
inline Exponential exponential(vec x) {
  // Adding 1.5 * 2^23 rounds to an integer, which then stands in the low bits of the sum.
  const vec magic = broadcast(12582912.0f);
  const vec shifted = x * 1.44269504f + magic;
  const vec n = shifted - magic;
  // ln(2) in two parts, the first with few enough bits that n times it is exact.
  const vec r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
  // Minimax for (e^r - 1) / r: relative error 1.1e-8 (Remez, degree 5).
  vec p = r * 1.388887728e-3f + 8.369075678e-3f;
  p = p * r + 4.166713633e-2f;
  p = p * r + 1.666650616e-1f;
  p = p * r + 4.999999812e-1f;
  p = p * r + 1.0f;
  const ivec exponent = reinterpret_cast<ivec>(shifted) << 23;
  return {reinterpret_cast<vec>(reinterpret_cast<ivec>(broadcast(1.0f)) + exponent), p * r};
}

inline vec clamp(vec x, float limit) {
  return at_most(at_least(x, broadcast(-limit)), broadcast(limit));
}

inline vec sigmoid(vec x) {
  const Exponential e = exponential(clamp(-x, 87.0f));
  const vec y = reciprocal((e.power * e.expm1 + e.power) + 1.0f);
  return x < -87.0f ? vec{} : y;  // 0 and not 1e-38: it may meet an infinite c
}

// tanh(x) = (e^2x - 1) / (e^2x + 1), by way of expm1 so that small x keep their digits.
inline vec tanh(vec x) {
  const Exponential e = exponential(clamp(x + x, 18.1f));  // beyond it tanh rounds to 1
  const vec expm1 = e.power * e.expm1 + (e.power - 1.0f);
  return expm1 * reciprocal(expm1 + 2.0f);
}

struct Gates {
  vec i, f, g, o;
};

inline Gates activate(const Gates& z) {
  return {sigmoid(z.i), sigmoid(z.f), tanh(z.g), sigmoid(z.o)};
}

struct CellGradient {
  Gates dgates;  // of the pre-activations
  vec dc_prev;
};

inline CellGradient cell_backward(const Gates& a, vec c, vec c_prev, vec dh, vec dc_next) {
  const vec tanh_c = tanh(c);
  const vec dh_o = dh * a.o;
  const vec dc = dc_next + dh_o * (1.0f - tanh_c * tanh_c);
  const vec dc_f = dc * a.f;
  return {{dc * a.g * a.i * (1.0f - a.i), dc_f * c_prev * (1.0f - a.f),
           dc * a.i * (1.0f - a.g * a.g), dh_o * tanh_c * (1.0f - a.o)},
          dc_f};
}
