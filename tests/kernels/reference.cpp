// The layer in float64, one sum after the other: what the kernels are held against.
//
// It rounds what they keep in the layer's type: h, the gates and their gradients, and with a
// projection h before it and dh of y. What is left between the two is rounding in float.
#include <cmath>

#include "layer.h"

namespace check {
namespace {

double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

double dot(const double* a, const double* b, int64_t count) {
  double sum = 0;
  for (int64_t k = 0; k < count; ++k) sum += a[k] * b[k];
  return sum;
}

// What the forward pass leaves of one row, for the backward pass.
struct Cell {
  Doubles gates;           // [4H]
  Doubles c_prev, tanh_c;  // [H]
  Doubles h_prev;          // [O]
};

class Direction {
 public:
  Direction(const Shape& shape, Type type, const Inputs<Doubles>& in, int64_t d)
      : s(shape), type(type), in(in), w(in.weights[d]), d(d), cells(s.offsets[s.steps]) {}

  // h_n and c_n are h_0 and c_0 when it begins.
  void forward(Results<Doubles>& out) {
    for (int64_t n = 0; n < s.steps; ++n) {
      const int64_t t = d == 0 ? n : s.steps - 1 - n;
      for (int64_t b = 0; b < s.rows(t); ++b) forward(b, s.offsets[t] + b, out);
    }
  }
  // dh_0 and dc_0 are dh_n and dc_n when it begins, the others zero.
  void backward(Results<Doubles>& out) {
    for (int64_t n = s.steps - 1; n >= 0; --n) {
      const int64_t t = d == 0 ? n : s.steps - 1 - n;
      for (int64_t b = 0; b < s.rows(t); ++b) backward(b, s.offsets[t] + b, out);
    }
  }

 private:
  double keep(double value) const { return round_to(type, value); }

  void forward(int64_t b, int64_t row, Results<Doubles>& out) {
    const int64_t H = s.hidden, I = s.input, O = s.output();
    double* h = out.h_n.data() + (d * s.batch + b) * O;
    double* c = out.c_n.data() + (d * s.batch + b) * H;
    Cell& cell = cells[row];
    cell = {Doubles(4 * H), Doubles(c, c + H), Doubles(H), Doubles(h, h + O)};
    Doubles m(H);  // h before its projection
    for (int64_t j = 0; j < H; ++j) {
      double z[kGates];
      for (int64_t k = j; k < 4 * H; k += H) {
        z[k / H] = dot(w.ih.data() + k * I, in.x.data() + row * I, I) +
                   dot(w.hh.data() + k * O, cell.h_prev.data(), O);
        if (!w.bias_ih.empty()) z[k / H] += w.bias_ih[k] + w.bias_hh[k];
      }
      const double a[] = {sigmoid(z[0]), sigmoid(z[1]), std::tanh(z[2]), sigmoid(z[3])};
      for (int i = 0; i < kGates; ++i) cell.gates[i * H + j] = keep(a[i]);
      c[j] = a[1] * c[j] + a[0] * a[2];
      cell.tanh_c[j] = std::tanh(c[j]);
      m[j] = keep(a[3] * cell.tanh_c[j]);
    }
    for (int64_t p = 0; p < O; ++p) {
      h[p] = s.projection ? keep(dot(w.hr.data() + p * H, m.data(), H)) : m[p];
      out.y[(row * s.directions + d) * O + p] = h[p];
    }
  }

  // dh of y -> dh before the projection, and the gradient of its weight.
  Doubles through_projection(const Cell& cell, Doubles& dh, Doubles& dhr) const {
    if (!s.projection) return dh;
    const int64_t H = s.hidden;
    Doubles dm(H);
    for (int64_t p = 0; p < s.projection; ++p) {
      dh[p] = keep(dh[p]);
      for (int64_t j = 0; j < H; ++j) {
        dm[j] += dh[p] * w.hr[p * H + j];
        dhr[p * H + j] += dh[p] * keep(cell.gates[3 * H + j] * cell.tanh_c[j]);
      }
    }
    return dm;
  }

  void backward(int64_t b, int64_t row, Results<Doubles>& out) {
    const int64_t H = s.hidden, O = s.output();
    const Cell& cell = cells[row];
    double* dh_running = out.dh_0.data() + (d * s.batch + b) * O;
    double* dc = out.dc_0.data() + (d * s.batch + b) * H;
    Doubles dh(dh_running, dh_running + O);
    for (int64_t p = 0; p < O; ++p) {
      if (!in.dy.empty()) dh[p] += in.dy[(row * s.directions + d) * O + p];
      dh_running[p] = 0;
    }
    const Doubles dm = through_projection(cell, dh, out.dweights[d].hr);
    Doubles dz(4 * H);
    for (int64_t j = 0; j < H; ++j) {
      const double *a = cell.gates.data() + j, i = a[0], f = a[H], g = a[2 * H], o = a[3 * H];
      const double tanh_c = cell.tanh_c[j];
      dc[j] += dm[j] * o * (1 - tanh_c * tanh_c);
      dz[j] = keep(dc[j] * g * i * (1 - i));
      dz[j + H] = keep(dc[j] * cell.c_prev[j] * f * (1 - f));
      dz[j + 2 * H] = keep(dc[j] * i * (1 - g * g));
      dz[j + 3 * H] = keep(dm[j] * tanh_c * o * (1 - o));
      dc[j] *= f;
    }
    for (int64_t k = 0; k < 4 * H; ++k) add(k, dz[k], row, cell, dh_running, out);
  }

  // What the gradient of the k-th pre-activation of a row contributes.
  void add(int64_t k, double dz, int64_t row, const Cell& cell, double* dh_prev,
           Results<Doubles>& out) {
    const int64_t I = s.input, O = s.output();
    Weights<Doubles>& dw = out.dweights[d];
    if (!w.bias_ih.empty()) dw.bias_ih[k] += dz;
    if (!w.bias_hh.empty()) dw.bias_hh[k] += dz;
    for (int64_t p = 0; p < I; ++p) {
      dw.ih[k * I + p] += dz * in.x[row * I + p];
      out.dx[row * I + p] += dz * w.ih[k * I + p];
    }
    for (int64_t p = 0; p < O; ++p) {
      dw.hh[k * O + p] += dz * cell.h_prev[p];
      dh_prev[p] += dz * w.hh[k * O + p];
    }
  }

  const Shape& s;
  Type type;
  const Inputs<Doubles>& in;
  const Weights<Doubles>& w;
  int64_t d;
  std::vector<Cell> cells;  // [N]
};

}  // namespace

Results<Doubles> reference(const Shape& shape, Type type, const Inputs<Doubles>& in) {
  Results<Doubles> out;
  const int64_t rows = shape.offsets[shape.steps];
  out.y.resize(rows * shape.directions * shape.output());
  out.h_n = in.h_0;
  out.c_n = in.c_0;
  out.dx.resize(in.x.size());
  out.dh_0 = in.dh_n.empty() ? Doubles(in.h_0.size()) : in.dh_n;
  out.dc_0 = in.dc_n.empty() ? Doubles(in.c_0.size()) : in.dc_n;
  for (int64_t d = 0; d < shape.directions; ++d) {
    const auto zeros = [](const char*, const Doubles& w, Doubles& dw) { dw.resize(w.size()); };
    each_weight(zeros, in.weights[d], out.dweights[d]);
    Direction direction(shape, type, in, d);
    direction.forward(out);
    direction.backward(out);
  }
  return out;
}

}  // namespace check
