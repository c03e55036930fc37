// Backward (BPTT, Werbos 1990), the pointwise part: dh -> dgates, and dc of the step before.

// Where the pointwise part of one row and vector of units reads and writes, worked out before the
// product of a tile.
template <class T>
struct CellBack {
  const typename T::Element* gates;
  const float* c;
  const float* c_prev;
  float* dc;
  typename T::Element* dgates;
  typename T::Element* m;           // or null: no projection
  const typename T::Element* dy;    // or null
  const typename T::Element* dh_n;  // or null
};

template <class T>
inline __attribute__((always_inline)) CellBack<T> cell_back_at(const Backward<T>& f,
                                                               const BackwardStep& step, int64_t b,
                                                               int64_t block) {
  const auto& of = f.of[step.direction];
  const int64_t unit = block * kLanes;
  CellBack<T> cell{f.gates(step, b) + Shape::place_of_gates(unit),
                   f.c(step, b) + unit,
                   f.c_prev(step, b) + unit,
                   f.dc(step, b) + unit,
                   of.dgates + (step.ring + b) * f.columns + kGates * unit,
                   nullptr,
                   nullptr,
                   nullptr};
  if (f.shape.projection) {
    cell.m = of.m + (step.ring + b) * f.shape.padded() + unit;
  } else {
    if (f.args.dy) cell.dy = f.dy(step, b) + unit;
    if (f.args.dh_n && b >= step.surviving) cell.dh_n = f.dh_n(step, b) + unit;
  }
  return cell;
}

// The rows of the pointwise part lie far apart: the hardware does not see them coming.
template <class T>
inline __attribute__((always_inline)) void prefetch_cell(const CellBack<T>& cell) {
  for (int i = 0; i < kGates * kPadding * 4 / T::kPerWord; i += 64) {
    prefetch(reinterpret_cast<const char*>(cell.gates) + i);
  }
  prefetch(cell.c);
  prefetch(cell.c_prev);
  prefetch_for_write(cell.dc);
  if (cell.dy) prefetch(cell.dy);
}

// dh of h before any projection, of N rows or vectors -> dgates, and dc of the step before.
template <class T, int N>
inline __attribute__((always_inline)) void backward_cells(const CellBack<T> (&cells)[N],
                                                          vec (&dh)[N], const int64_t (&units)[N]) {
  vec tanh_c[N];
#pragma GCC unroll 4
  for (int n = 0; n < N; ++n) tanh_c[n] = load(cells[n].c);
  tanh(tanh_c);
#pragma GCC unroll 4
  for (int n = 0; n < N; ++n) {
    const CellBack<T>& at = cells[n];
    if (units[n] >= kLanes) {
      if (at.dy) dh[n] += T::load(at.dy);
      if (at.dh_n) dh[n] += T::load(at.dh_n);
    } else {  // padding stays 0, though Inf arrives: 0 * Inf would be NaN
      const Lanes lanes = first_lanes(units[n]);
      if (at.dy) dh[n] += T::load(at.dy, lanes);
      if (at.dh_n) dh[n] += T::load(at.dh_n, lanes);
      dh[n] = keep(dh[n], lanes);
    }
    vec a[kGates];
#pragma GCC unroll 4
    for (int i = 0; i < kGates; ++i) a[i] = T::load(at.gates + i * kPadding);
    const CellGradient d = cell_backward(a, tanh_c[n], load(at.c_prev), dh[n], load(at.dc));
    store(at.dc, d.dc_prev);
#pragma GCC unroll 4
    for (int i = 0; i < kGates; ++i) T::store(at.dgates + i * kLanes, d.dgates[i]);
    if (at.m) T::store(at.m, a[3] * tanh_c[n]);
  }
}

// Of a gradient of what the gates see of h: that of h.
template <class T>
inline vec dropped_gradient(const Backward<T>& f, int64_t direction, int64_t b, int64_t at,
                            vec dh) {
  if (!f.args.noise.drops()) return dh;
  const int64_t size = f.shape.output();
  return dropped(dh, load(f.mask[direction] + b * size + at, first_lanes(size - at)));
}

// backward_cells of one row and vector, with noise. Without a projection dh is of h as the gates of
// the step after see it.
template <class T>
__attribute__((noinline)) void noisy_cell_back(const Backward<T>& f, const BackwardStep& step,
                                               int64_t b, int64_t block, vec dh) {
  const int64_t unit = block * kLanes;
  const CellBack<T> at = cell_back_at(f, step, b, block);
  const Lanes lanes = first_lanes(f.shape.hidden - unit);
  const Zoneout zoneout(f.args.noise, step, b, unit);
  if (!f.shape.projection) {
    dh = dropped_gradient(f, step.direction, b, unit, dh);
    if (at.dy) dh += T::load(at.dy, lanes);
    if (at.dh_n) dh += T::load(at.dh_n, lanes);
  }
  if (f.args.noise.zoneout_h > 0) {
    float* kept = f.dh_kept[step.direction] + b * f.shape.padded() + unit;
    dh += load(kept);
    store(kept, keep(zoneout.h_before(dh), lanes));
    dh = zoneout.h_now(dh);
  }
  dh = keep(dh, lanes);
  vec tanh_c[1] = {load(at.c)};
  tanh(tanh_c);
  vec a[kGates];
  for (int i = 0; i < kGates; ++i) a[i] = T::load(at.gates + i * kPadding);
  const vec dc = load(at.dc) + dh * a[3] * (1.0f - tanh_c[0] * tanh_c[0]);
  CellGradient d = cell_backward(a, tanh_c[0], load(at.c_prev), vec{}, zoneout.c_now(dc));
  d.dgates[3] = dh * tanh_c[0] * a[3] * (1.0f - a[3]);
  store(at.dc, d.dc_prev + zoneout.c_before(dc));
  for (int i = 0; i < kGates; ++i) T::store(at.dgates + i * kLanes, d.dgates[i]);
  if (at.m) T::store(at.m, a[3] * tanh_c[0]);
}
