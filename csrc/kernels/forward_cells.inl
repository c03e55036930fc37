// Forward, the pointwise part: pre-activations -> gates, c, h.

// 1 over the unit of h, where h is integers. Elsewhere no member at all: filling one in
// took up to a tenth of the time of a step of few units.
template <bool integer>
struct OfIntegers {};
template <>
struct OfIntegers<true> {
  float h_inverse;
};

// Where the pointwise part of one row and block reads and writes. Worked out before the product of
// a tile: after it, nothing should stand between its sums and the arithmetic.
template <class T>
struct Cell : OfIntegers<T::kInteger> {
  const float* c_prev;
  float* c;
  typename T::Element* gates;  // or null: not kept
  typename T::Element* h;
  float* wide;  // or null: h is enough
};

template <class T>
inline __attribute__((always_inline)) Cell<T> cell_at(const Forward<T>& f, const Step& step,
                                                      int64_t b, int64_t block) {
  const int64_t unit = block * kLanes;
  Cell<T> cell{{},      f.c_prev(step, b) + unit, f.c_at(step, b) + unit,
               nullptr, f.hidden(step, b) + unit, nullptr};
  if constexpr (T::kInteger) cell.h_inverse = 1 / f.h_units[step.direction][b];
  if (f.args.c) cell.gates = f.gates(step, b) + Shape::place_of_gates(unit);
  if (f.args.wide && !f.shape.projection) {
    cell.wide = static_cast<float*>(f.args.y) + f.y_at(step, step.row() + b) + unit;
  }
  return cell;
}

// The rows of the pointwise part lie far apart: the hardware does not see them coming.
template <class T>
inline __attribute__((always_inline)) void prefetch_cell(const Cell<T>& cell, const float* add) {
  for (int i = 0; i < kGates * kLanes; i += 16) prefetch(add + i);
  prefetch(cell.c_prev);
  prefetch_for_write(cell.h);
  if (!cell.gates) return;
  prefetch_for_write(cell.c);
  for (int i = 0; i < kGates * kPadding * 4 / T::kPerWord; i += 64) {
    prefetch_for_write(reinterpret_cast<const char*>(cell.gates) + i);
  }
}

// If it is the last block, zero for what is kept of padding behind it, which wider vectors would
// read.
template <class T, int N>
inline __attribute__((always_inline)) void clear_padding(const Cell<T> (&cells)[N], int64_t units,
                                                         int64_t block) {
  if (kLanes == kPadding || units > kLanes) return;
  for (int n = 0; n < N && cells[n].gates; ++n) {
    for (int64_t at = kLanes; (block * kLanes + at) % kPadding != 0; at += kLanes) {
      store(cells[n].c + at, vec{});
      for (int i = 0; i < kGates; ++i) T::store(cells[n].gates + i * kPadding + at, vec{});
    }
  }
}

// Pre-activations of N rows or blocks -> gates, c, h.
template <class T, int N>
inline __attribute__((always_inline)) void forward_cells(const Cell<T>* cells, vec (&z)[N][kGates],
                                                         int64_t units, bool padded_h) {
  const Lanes lanes = first_lanes(units);
  const bool whole = units >= kLanes;
  vec c[N];
#pragma GCC unroll 8
  for (int n = 0; n < N; ++n) {
    if (!whole) {  // padding stays 0 whatever x is: 0 * Inf would be NaN
      for (int i = 0; i < kGates; ++i) z[n][i] = keep(z[n][i], lanes);
    }
    activate(z[n]);
    c[n] = z[n][1] * load(cells[n].c_prev) + z[n][0] * z[n][2];
    store(cells[n].c, c[n]);
    if (!cells[n].gates) continue;
#pragma GCC unroll 4
    for (int i = 0; i < kGates; ++i) T::store(cells[n].gates + i * kPadding, z[n][i]);
  }
  tanh(c);
#pragma GCC unroll 8
  for (int n = 0; n < N; ++n) {
    const vec h = z[n][3] * c[n];
    if (cells[n].wide) store(cells[n].wide, h, lanes);
    // Before a projection its rows are padded, and are read in whole words.
    if constexpr (T::kInteger) {
      T::store(cells[n].h, h * cells[n].h_inverse);
    } else if (whole || padded_h) {
      T::store(cells[n].h, h);
    } else {
      T::store(cells[n].h, h, lanes);
    }
  }
}

// What the gates of the next step see of row b's h.
template <class T>
inline void drop(const Forward<T>& f, const Step& step, int64_t b, int64_t at, vec h) {
  const int64_t size = f.shape.output();
  const Lanes lanes = first_lanes(size - at);
  const vec mask = load(f.mask[step.direction] + b * size + at, lanes);
  T::store(f.dropped + step.at(step.row() + b, size) + at, dropped(h, mask), lanes);
}

// forward_cells of one row and block, with noise; `z` is [4][kLanes].
template <class T>
__attribute__((noinline)) void noisy_cell(const Forward<T>& f, const Step& step, int64_t b,
                                          int64_t block, const float* z) {
  const int64_t unit = block * kLanes;
  const Cell<T> cell = cell_at(f, step, b, block);
  const Lanes lanes = first_lanes(f.shape.hidden - unit);
  const Zoneout zoneout(f.args.noise, step, b, unit);
  vec a[kGates];
  for (int i = 0; i < kGates; ++i) a[i] = keep(load(z + i * kLanes), lanes);
  activate(a);
  const vec c_prev = load(cell.c_prev);
  vec tanh_c[1] = {zoneout.c(c_prev, a[1] * c_prev + a[0] * a[2])};
  store(cell.c, tanh_c[0]);
  for (int i = 0; cell.gates && i < kGates; ++i) T::store(cell.gates + i * kPadding, a[i]);
  tanh(tanh_c);
  vec h = a[3] * tanh_c[0];
  if (f.shape.projection) return T::store(cell.h, h);
  h = zoneout.h(T::load(f.h_before(step, b) + unit, lanes), h);
  T::store(cell.h, h, lanes);
  if (cell.wide) store(cell.wide, h, lanes);
  if (f.dropped) drop(f, step, b, unit, h);
}
