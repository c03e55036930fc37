// The LSTM recurrence on the CPU: what goes in, what comes out, and the table of its variants.
//
// T steps, B batch, H hidden, D directions (1 or 2; direction 1 runs from right to left), N rows.
// Rows are time-major and packed: step t owns rows offsets[t] .. offsets[t+1], longest sequence
// first, so that row b of every step belongs to sequence b; a padded batch has offsets[t] = t * B.
// Gates stand in PyTorch's order i, f, g, o. All buffers are contiguous float32.
//
// This header is included by files compiled for different instruction sets. It and they include no
// standard C++ header: an inline function of one would be emitted as a weak symbol built for
// AVX-512, and the linker may keep that copy for every caller.
#pragma once
#include <stddef.h>
#include <stdint.h>

namespace fastlstm {

constexpr int64_t kGates = 4;
constexpr int64_t kMaxDirections = 2;

struct Shape {
  int64_t steps;           // T
  int64_t batch;           // B
  int64_t hidden;          // H
  int64_t directions;      // D
  const int64_t* offsets;  // [T + 1]
  int threads;             // at most this many are used

  __attribute__((always_inline)) int64_t rows(int64_t t) const {
    return offsets[t + 1] - offsets[t];
  }
};

struct ForwardArgs {
  Shape shape;
  int64_t input;                           // I
  const float* x;                          // [N, I], or null: gates hold its part
  const float* weight_ih[kMaxDirections];  // D x [4H, I], not read without x
  const float* weight_hh[kMaxDirections];  // D x [4H, H], or null: gates hold its part (T = 1)
  const float* bias[kMaxDirections];       // D x [4H], or null: none
  const float* h_0;                        // [D, B, H]
  const float* c_0;                        // [D, B, H]
  float* gates;                            // [N, D, 4H] in: see x; out: activated, if c is kept
  float* y;                                // [N, D, H] out
  float* c;                                // [N, D, H] out, or null: not kept (inference)
  float* h_n;                              // [D, B, H] out
  float* c_n;                              // [D, B, H] out
};

struct BackwardArgs {
  Shape shape;
  const float* weight_hh[kMaxDirections];  // D x [4H, H]
  const float* c_0;                        // [D, B, H]
  const float* gates;                      // [N, D, 4H] activated
  const float* c;                          // [N, D, H]
  const float* dy;                         // [N, D, H], or null: zero
  const float* dh_n;                       // [D, B, H], or null: zero
  float* dgates;                           // [N, D, 4H] out: gradient of the pre-activations
  float* dh_0;                             // [D, B, H] out
  float* dc_0;                             // [D, B, H] in: dc_n; out: dc_0
};

// One variant, built for one instruction set.
struct Kernels {
  const char* name;
  // Floats of 64-byte aligned workspace.
  size_t (*forward_workspace)(const ForwardArgs&);
  size_t (*backward_workspace)(const BackwardArgs&);
  void (*forward)(const ForwardArgs&, float* workspace);
  void (*backward)(const BackwardArgs&, float* workspace);
};

namespace generic {
extern const Kernels kernels;
}
namespace avx2 {
extern const Kernels kernels;
}
namespace avx512 {
extern const Kernels kernels;
}

// dispatch.cpp. The variants that this CPU runs, best last; a null pointer ends the list.
const Kernels* const* supported();
// The best variant this CPU runs, or the one FASTLSTM_CPU_ISA or select_isa() names.
const Kernels& active();
// Makes the variant of that name the active one. Throws std::runtime_error if there is none.
void select_isa(const char* name);

}  // namespace fastlstm
