// One variant of the kernels. The including file names its namespace, FASTLSTM_ISA, and gives
// kLanes, the floats in a vector, and kRows, the rows of a tile that its registers hold.
#include "../lstm.h"
#include "../team.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace fastlstm {
namespace FASTLSTM_ISA {
namespace {

#include "vec.inl"
#include "cell.inl"
#include "recurrent_gemm.inl"

// Step n of a direction's computation, and the steps before and after it in that order.
struct Neighbours {
  int64_t t;
  int64_t row_before = 0;
  int64_t row_after = 0;
  int64_t continuing = 0;  // sequences of step t that were in the step before
  int64_t surviving = 0;   // sequences of step t that are in the step after

  Neighbours(const Shape& shape, int64_t direction, int64_t n) {
    const int64_t forward = direction == 0 ? 1 : -1;
    t = direction == 0 ? n : shape.steps - 1 - n;
    if (n > 0) {
      row_before = shape.offsets[t - forward];
      continuing = shared_rows(shape, t, t - forward);
    }
    if (n + 1 < shape.steps) {
      row_after = shape.offsets[t + forward];
      surviving = shared_rows(shape, t, t + forward);
    }
  }

  static int64_t shared_rows(const Shape& shape, int64_t s, int64_t t) {
    return shape.rows(s) < shape.rows(t) ? shape.rows(s) : shape.rows(t);
  }
};

#include "forward.inl"
#include "backward.inl"

}  // namespace

#define FASTLSTM_STRING(name) FASTLSTM_STRING_(name)
#define FASTLSTM_STRING_(name) #name
extern const Kernels kernels{FASTLSTM_STRING(FASTLSTM_ISA), &packed_weights, &forward, &backward};

}  // namespace FASTLSTM_ISA
}  // namespace fastlstm
