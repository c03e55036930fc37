// The gradients of the weights where products are made in strips.

// A group that is packed [words][kLanes columns] -> its columns as the rows of a strip.
template <class T>
inline void transpose_group(const LeftOperand<T>&, int64_t rows, float* packed) {
  for (int64_t k = 0; k < words<T>(rows); k += kLanes, packed += kLanes * kLanes) {
    vec block[kLanes];
#pragma GCC unroll 16
    for (int n = 0; n < kLanes; ++n) block[n] = load(packed + n * kLanes);
    transpose(block);
#pragma GCC unroll 16
    for (int n = 0; n < kLanes; ++n) store(packed + n * kLanes, block[n]);
  }
}

// Adds the product of one group, `sums` [kLanes][C][kLanes], to the gradients.
template <int C, class T>
inline void add_group(const LeftOperand<T>& left, int64_t group, const float* sums, const Sums& to,
                      int64_t ld, Lanes last, const Block& block) {
  const int64_t rows = left.valid(group);
  for (int64_t r = 0; r < rows; ++r) {
    for (int c = 0; c < C; ++c) {
      const Lanes lanes = c == C - 1 ? last : first_lanes(kLanes);
      add_block(to.from(r * ld + c * kLanes), block, load(sums + (r * C + c) * kLanes), lanes);
    }
  }
}

// C vectors of columns of the right operand, from `column`, for the packed groups [begin, end).
template <int C, class T, class At>
void multiply_group_strips(const LeftOperand<T>& left, const RightOperand<T, At>& right,
                           Range groups, int64_t rows, int64_t column, Size<C>,
                           const float* packed_left, const float* packed_right, Lanes last,
                           const Block& block) {
  constexpr int64_t kTogether = 16;
  alignas(64) float sums[kTogether * kRegister * C];
  const Panel<T> panel = {const_cast<float*>(packed_left), rows};
  for (int64_t first = groups.begin; first < groups.end; first += kTogether) {
    const int64_t end = clip(first + kTogether, 0, groups.end);
    multiply_panel<C>(panel, (first - groups.begin) * kStrip, (end - first) * kStrip, packed_right,
                      sums);
    for (int64_t group = first; group < end; ++group) {
      const Sums to = right.sums.from(left.weight_row(group) * right.columns + column);
      add_group<C>(left, group, sums + (group - first) * kRegister * C, to, right.columns, last,
                   block);
    }
  }
}
