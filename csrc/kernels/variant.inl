// One variant of the kernels. The including file names its namespace, FASTLSTM_ISA, and gives
// kLanes, the floats in a vector, and kRows, the rows of a tile that its registers hold.
#include "../lstm.h"
#include "../threads.h"
#include "../wavefront.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace fastlstm {
namespace FASTLSTM_ISA {
namespace {

#include "vec.inl"
#if defined(__AMX_BF16__)
#include "tile_unit.inl"
#endif
#include "types.inl"
#include "cell.inl"
#include "product.inl"
#include "packing.inl"
#if defined(__AMX_BF16__)
#include "strips.inl"
#endif
#include "int8.inl"
#include "gate_sums.inl"
#include "fingerprint.inl"
#include "step.inl"
#include "noise.inl"
#include "wavefront.inl"

#include "forward_weights.inl"
#include "forward_pass.inl"
#include "forward_cells.inl"
#include "forward_tile.inl"
#include "int8_rows.inl"
#include "projections.inl"
#if defined(__AMX_BF16__)
#include "forward_strips.inl"
#include "projection_strips.inl"
#endif
#include "decode.inl"
#include "forward.inl"
#include "forward_stack.inl"

#include "backward_pass.inl"
#include "backward_cells.inl"
#include "backward_tile.inl"
#include "input_gradient.inl"
#include "weight_gradients.inl"
#if defined(__AMX_BF16__)
#include "backward_strips.inl"
#include "gradient_strips.inl"
#endif
#include "gradients.inl"
#include "backward.inl"
#include "backward_stack.inl"

}  // namespace

#define FASTLSTM_STRING(name) FASTLSTM_STRING_(name)
#define FASTLSTM_STRING_(name) #name
extern const Kernels kernels{FASTLSTM_STRING(FASTLSTM_ISA),
                             &forward_workspace,
                             &backward_workspace,
                             &reads_packed,
                             &forward,
                             &backward,
                             &packed_size,
                             &pack,
                             &fingerprint,
                             &round_to_bfloat16,
                             &round_to_int8,
                             kMultipliesInt8};

}  // namespace FASTLSTM_ISA
}  // namespace fastlstm
