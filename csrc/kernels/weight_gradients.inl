// The gradients of the weights, from the dgates of a chunk while they are in cache.
//
// dweight [rows of the weight, columns] += dgates^T [., rows of the chunk] @ (x or h_prev). Both
// operands are packed: k, the dimension that is summed over, runs over the rows of the chunk.

// Rows whose products are summed before they are added to the gradients: few enough that dgates are
// still in cache, and enough that gradients which are not are not read and written too often.
template <class T>
inline int64_t gradient_rows(const Shape& shape) {
  constexpr int64_t kNearBytes = 4 << 20;
  const int64_t bytes = 4 * kGates * shape.hidden * (shape.input + shape.output());
  int64_t times = 1;
  while (times < 2 && bytes > times * kNearBytes) times *= 2;
  return times * 256 * T::kPerWord;
}

// Groups of kLanes rows of a weight that are packed at a time, at most. The right operand is packed
// again for each such batch: the faster products are, the larger a batch pays.
template <class T>
constexpr int64_t kMostGroups = T::kStrips ? 32 : 16;

// As many, for so many rows of the chunk.
template <class T>
inline int64_t gradient_groups(int64_t rows) {
  constexpr int64_t kWords = kMostGroups<T> * 256;
  return clip(kWords / words<T>(rows > 0 ? rows : 1), 4, kMostGroups<T>);
}

// Floats of scratch for so many rows, or fewer.
template <class T>
inline int64_t gradient_scratch(int64_t rows) {
  return words<T>(rows) * (kMostGroups<T> + kColumns) * kLanes;
}

// Rows [chunk rows] of kLanes columns -> out [words][stride floats].
// `at(row)` is the address of the first column of a row of the chunk.
template <class T, class At>
inline void pack_columns(int64_t rows, At at, Lanes lanes, float* out, int64_t stride) {
  for (int64_t row = 0; row < rows; row += T::kPerWord, out += stride) {
    const bool pair = T::kPerWord == 2 && row + 1 < rows;
    store(out, T::words(at(row), pair ? at(row + 1) : nullptr, lanes));
  }
  for (int64_t k = (rows + T::kPerWord - 1) / T::kPerWord; k < words<T>(rows); ++k, out += stride) {
    store(out, vec{});
  }
}

// Sums over all rows. Those of a chunk whose rows are many blocks are summed apart, and added once:
// to a large sum each addition is an error of its size.
struct Sums {
  float* total;
  float* chunk;  // those of the chunk under way, if it has more blocks than one

  Sums from(int64_t at) const { return {total + at, chunk + at}; }
};

// Where a block stands among those that are summed.
struct Block {
  bool first;      // of all: there is no total yet
  bool continues;  // not the first of its chunk
  bool ends;       // the last of its chunk
};

// Adds the sums of a block, one vector.
inline __attribute__((always_inline)) void add_block(const Sums& to, const Block& block, vec sum,
                                                     Lanes lanes) {
  if (block.continues) sum += load(to.chunk, lanes);
  if (block.ends && !block.first) sum += load(to.total, lanes);
  store(block.ends ? to.total : to.chunk, sum, lanes);
}

// An operand on the left: of each row of a chunk some elements, and the rows of the weight that
// they belong to. Groups of kLanes; in the last of a gate some may be padding.
template <class T>
struct LeftOperand {
  const typename T::Element* rows;
  int64_t ld;
  int64_t groups;
  int64_t gates;  // that the groups take turns in; 1: none
  int64_t size;   // rows of the weight of one gate
  Sums sums;      // of the elements over all rows; or null

  int64_t first(int64_t group) const { return group / gates * kLanes; }
  int64_t valid(int64_t group) const { return clip(size - first(group), 0, kLanes); }
  int64_t weight_row(int64_t group) const { return group % gates * size + first(group); }
};

// An operand on the right: rows of x, of h_prev or of h before its projection; its product's sums.
template <class T, class At>
struct RightOperand {
  At at;  // (row of the block) -> its address
  int64_t columns;
  Sums sums;  // [rows of the weight, columns]
};

// R rows of a group times C vectors of columns, added to the sums.
template <class T, int R, int C>
void gradient_tile(const float* left, const float* right, int64_t rows, const Sums& to, int64_t ld,
                   Lanes last, const Block& block) {
  Factor<R> factor;
  const float* out = block.ends ? to.total : to.chunk;
  for (int r = 0; r < R; ++r) {
    factor.rows[r] = reinterpret_cast<const char*>(left + r);
    for (int c = 0; c < C; ++c) prefetch_for_write(out + r * ld + c * kLanes);
  }
  factor.depth = words<T>(rows);
  factor.half = false;
  factor.weights = right;
  factor.apart = 0;
  vec sum[R][C];
  product<T, R, C, 1, kLanes>(sum, &factor, 1);
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
    for (int c = 0; c < C; ++c) {
      const Lanes lanes = c == C - 1 ? last : first_lanes(kLanes);
      add_block(to.from(r * ld + c * kLanes), block, sum[r][c], lanes);
    }
  }
}

// All columns of the right operand, for the packed groups [begin, end).
template <class T, class At>
void multiply_groups(const LeftOperand<T>& left, const RightOperand<T, At>& right, Range groups,
                     int64_t rows, const float* packed_left, float* packed_right,
                     const Block& block) {
  const Tiles panels({0, vectors(right.columns)}, kColumns);
  for (int64_t panel = 0; panel < panels.count; ++panel) {
    const int64_t width = panels.size(panel);
    const int64_t column = panels.first(panel) * kLanes;
    for (int64_t c = 0; c < width; ++c) {
      const int64_t from = column + c * kLanes;
      pack_columns<T>(
          rows, [&](int64_t row) { return right.at(row) + from; },
          first_lanes(right.columns - from), packed_right + c * kLanes, width * kLanes);
    }
    const Lanes last = first_lanes(right.columns - column - (width - 1) * kLanes);
    if constexpr (T::kStrips) {
      with_tile<1, kColumns>(1, width, [&](auto, auto columns) {
        multiply_group_strips(left, right, groups, rows, column, columns, packed_left, packed_right,
                              last, block);
      });
      continue;
    }
    for (int64_t group = groups.begin; group < groups.end; ++group) {
      const float* from = packed_left + (group - groups.begin) * words<T>(rows) * kLanes;
      const Tiles tiles({0, left.valid(group)}, kRows);
      for (int64_t tile = 0; tile < tiles.count; ++tile) {
        const int64_t r = tiles.first(tile);
        const Sums to = right.sums.from((left.weight_row(group) + r) * right.columns + column);
        with_tile<kRows, kColumns>(tiles.size(tile), width, [&](auto height, auto columns) {
          gradient_tile<T, decltype(height)::value, decltype(columns)::value>(
              from + r, packed_right, rows, to, right.columns, last, block);
        });
      }
    }
  }
}

// Sums of a group's elements over the rows of a block. Several run side by side: that takes less
// time, and rounding grows with the rows of each.
template <class T>
void sum_group(const LeftOperand<T>& left, int64_t group, int64_t rows, const Block& block) {
  constexpr int kSums = 8;
  const auto* at = left.rows + group * kLanes;
  vec sums[kSums] = {};
  int64_t row = 0;
  for (; row + kSums <= rows; row += kSums) {
#pragma GCC unroll 8
    for (int n = 0; n < kSums; ++n) sums[n] += T::load(at + (row + n) * left.ld);
  }
  for (; row < rows; ++row) sums[0] += T::load(at + row * left.ld);
#pragma GCC unroll 4
  for (int apart = kSums / 2; apart > 0; apart /= 2) {
#pragma GCC unroll 4
    for (int n = 0; n < apart; ++n) sums[n] += sums[n + apart];
  }
  const Sums to = left.sums.from(left.weight_row(group));
  add_block(to, block, sums[0], first_lanes(left.valid(group)));
}

// The gradients of one weight, or two that share the left operand, from one block.
template <class T, class AtOne, class AtTwo>
void add_gradients(const LeftOperand<T>& left, const RightOperand<T, AtOne>& one,
                   const RightOperand<T, AtTwo>& two, const Share& share, int64_t rows,
                   const Block& block, float* scratch) {
  const int64_t together = gradient_groups<T>(rows);
  float* packed_right = scratch + together * kLanes * words<T>(rows);
  const Range own = share.part(left.groups);
  for (int64_t begin = own.begin; begin < own.end; begin += together) {
    const Range groups = {begin, clip(begin + together, begin, own.end)};
    for (int64_t group = groups.begin; group < groups.end; ++group) {
      float* packed = scratch + (group - begin) * words<T>(rows) * kLanes;
      pack_columns<T>(
          rows, [&](int64_t row) { return left.rows + row * left.ld + group * kLanes; },
          first_lanes(left.valid(group)), packed, kLanes);
      if constexpr (T::kStrips) transpose_group(left, rows, packed);
      if (left.sums.total) sum_group(left, group, rows, block);
    }
    multiply_groups<T>(left, one, groups, rows, scratch, packed_right, block);
    multiply_groups<T>(left, two, groups, rows, scratch, packed_right, block);
  }
}
