// LSTM layers on the CPU: what goes in, what comes out, and the table of the variants.
//
// T steps, B batch, I input, H hidden, P projection (Sak et al. 2014), D directions (1 or 2;
// direction 1 runs from right to left), N rows, O the size of h: P, or H without a projection.
// Rows are time-major and packed: step t owns rows offsets[t] .. offsets[t+1], longest sequence
// first, so that row b of every step belongs to sequence b; a padded batch has offsets[t] = t * B.
// With a row map x, y and their gradients have any R rows, and packed row n is row map[n] of them,
// no two the same. All else stays in packed order, and the other rows are left as they are.
// Gates stand in PyTorch's order i, f, g, o. All buffers are contiguous.
//
// What backward needs is kept in a form of its own, the same for all variants: units are padded to
// H' = padded(H), and the four gates of kPadding units stand beside each other, [H' / 16][4][16].
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
constexpr int64_t kPadding = 16;  // of units: the widest vector of any variant

// The type of x, y, h, the weights and their gradients. Sums, c and the pointwise part are float.
// With kInt8, for forward alone, packed weights are integers of 8 bits, and x and h of 16; it is
// `wide`, all weights come packed, and there is no projection.
enum class Type { kFloat32, kBFloat16, kInt8 };

struct Shape {
  int64_t steps;           // T
  int64_t batch;           // B
  int64_t input;           // I
  int64_t hidden;          // H
  int64_t projection;      // P, or 0
  int64_t directions;      // D
  const int64_t* offsets;  // [T + 1]
  int threads;             // at most this many are used

  __attribute__((always_inline)) int64_t rows(int64_t t) const {
    return offsets[t + 1] - offsets[t];
  }
  __attribute__((always_inline)) int64_t output() const { return projection ? projection : hidden; }
  __attribute__((always_inline)) int64_t padded() const {
    return (hidden + kPadding - 1) / kPadding * kPadding;
  }
  // Where the first gate of a unit stands in a row of gates; the others follow kPadding apart.
  __attribute__((always_inline)) static int64_t place_of_gates(int64_t unit) {
    return unit / kPadding * kGates * kPadding + unit % kPadding;
  }
};

// The row of a buffer that packed row n is, by the map of its rows, or null: the same.
__attribute__((always_inline)) inline int64_t mapped(const int64_t* map, int64_t n) {
  return map ? map[n] : n;
}

// Of one direction. `Pointer` is `const void*` for weights, `void*` for their gradients.
template <class Pointer>
struct Weights {
  Pointer ih;       // [4H, I]
  Pointer hh;       // [4H, O]
  Pointer bias_ih;  // [4H], or null: no biases
  Pointer bias_hh;  // [4H]
  Pointer hr;       // [P, H], or null: no projection
};

// Noise against overfitting, drawn anew at each place from a seed: see kernels/noise.inl.
struct Noise {
  uint64_t seed;
  int64_t layer;  // of the stack: each draws numbers of its own
  float dropout;  // of h_{t-1} as the gates see it, one mask for all steps (Gal & Ghahramani 2016)
  double zoneout_c;  // probability that a unit keeps its c of the step before (Krueger et al. 2017)
  double zoneout_h;  // and its h; 0 with a projection
  bool expected;     // zoneout is by its expectation, and nothing is dropped: nothing is random

  __attribute__((always_inline)) bool drops() const { return dropout > 0 && !expected; }
  __attribute__((always_inline)) bool any() const {
    return drops() || zoneout_c > 0 || zoneout_h > 0;
  }
};

struct ForwardArgs {
  Shape shape;
  Type type;
  bool wide;    // x, h_0, y and h_n are float whatever the type is; nothing is kept
  bool wide_c;  // c_0 and c_n are float whatever the type is
  Weights<const void*> weights[kMaxDirections];
  const void* x;    // [R, I]; not read but of the first layer: the others take the y below
  const void* h_0;  // [D, B, O]
  const void* c_0;  // [D, B, H]
  void* y;          // [R, D, O] out; or null, but of the last layer: not wanted
  void* h_n;        // [D, B, O] out; may be h_0
  void* c_n;        // [D, B, H] out; may be c_0
  void* gates;      // [N, D, 4H'] out: activated; or null: not kept (inference)
  float* c;         // [N, D, H'] out, or null with `gates`
  // Of each direction, as `pack` leaves them; or null: packed anew.
  const float* packed[kMaxDirections];
  const int64_t* x_rows;  // [N]: the map of x, or null; of the first layer alone
  const int64_t* y_rows;  // [N]: the map of y, or null; of the last layer alone
  Noise noise;
  void* dropped;  // [N, D, O] out: h as the next step's gates see it; or null: not kept
};

struct BackwardArgs {
  Shape shape;
  Type type;
  Weights<const void*> weights[kMaxDirections];
  const void* x;      // [R, I]; not read but of the first layer: the others take the y below
  const void* h_0;    // [D, B, O]
  const void* c_0;    // [D, B, H]
  const void* y;      // [R, D, O]
  const void* gates;  // [N, D, 4H']
  const float* c;     // [N, D, H']
  const void* dy;     // [R, D, O], or null: zero; read of the last layer alone
  const void* dh_n;   // [D, B, O], or null: zero
  const void* dc_n;   // [D, B, H], or null: zero
  void* dx;           // [R, I] out, or null: not wanted; written of the first layer alone
  void* dh_0;         // [D, B, O] out
  void* dc_0;         // [D, B, H] out
  bool wants_dweights;
  Weights<void*> dweights[kMaxDirections];  // out
  const int64_t* x_rows;                    // [N]: as in forward, of x and dx
  const int64_t* y_rows;                    // [N]: of y and dy
  Noise noise;
  const void* dropped;  // [N, D, O]: as in forward, if noise drops
};

// One variant, built for one instruction set. Layers are those of a stack, the first first: their
// shapes differ in I alone, and all have the same gates and c kept, or not.
struct Kernels {
  const char* name;
  // Bytes of 64-byte aligned workspace.
  size_t (*forward_workspace)(const ForwardArgs* layers, int64_t count);
  size_t (*backward_workspace)(const BackwardArgs* layers, int64_t count);
  // Whether `forward` would read packed weights of a layer, were they given.
  bool (*reads_packed)(const ForwardArgs&);
  void (*forward)(const ForwardArgs* layers, int64_t count, void* workspace);
  void (*backward)(const BackwardArgs* layers, int64_t count, void* workspace);
  // The weights of a direction as the forward pass reads them: floats, and the packing.
  size_t (*packed_size)(const Shape&, Type);
  void (*pack)(const Shape&, Type, const Weights<const void*>&, float* packed);
  uint64_t (*fingerprint)(const void* data, int64_t bytes);
  // float -> bfloat16
  void (*round)(const float* from, uint16_t* bfloat16, int64_t count);
  // Rows of a weight to what 8 bits hold with a scale per row, as floats.
  void (*round_to_int8)(const float* from, float* to, int64_t rows, int64_t depth);
  bool multiplies_int8;  // whether it knows kInt8
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
namespace avx512bf16 {
extern const Kernels kernels;
}
namespace amx {
extern const Kernels kernels;
}

// dispatch.cpp. The variants that this CPU runs, best last; a null pointer ends the list.
const Kernels* const* supported();
// The best variant this CPU runs, or the one FASTLSTM_CPU_ISA or select_isa() names.
const Kernels& active();
// Makes the variant of that name the active one. Throws std::runtime_error if there is none.
void select_isa(const char* name);

}  // namespace fastlstm
