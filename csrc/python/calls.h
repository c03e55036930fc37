// Calls of the kernels with what Python hands over: sizes as numbers, tensors as addresses.
#pragma once
#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "lstm.h"
#include "weight_cache.h"

namespace fastlstm {

using Address = std::uintptr_t;
// As nn.LSTM has them, for each layer those of its directions: ih, hh, perhaps bias_ih and bias_hh,
// perhaps hr.
using Addresses = std::vector<Address>;

template <std::size_t N>
using AddressesOf = std::array<Address, N>;

inline void* pointer(Address address) { return reinterpret_cast<void*>(address); }

template <class Pointer>
void set(Weights<Pointer>& weights, const Address* addresses, std::size_t arity) {
  const auto at = [&](bool there, std::size_t i) -> Pointer {
    return there ? pointer(addresses[i]) : nullptr;
  };
  weights = {pointer(addresses[0]), pointer(addresses[1]), at(arity > 3, 2), at(arity > 3, 3),
             at(arity % 2, arity - 1)};
}

// The first of a map of `count` packed rows to rows of a buffer of `room` that is none of them, or
// is another one's too; -1 if there is none.
std::int64_t misfit(const std::int64_t* map, std::int64_t count, std::int64_t room);

// The sizes of a stack as Python gives them, and where the rows of each step begin: given, or for
// address 0 those of a padded batch.
class Sizes {
 public:
  // steps, batch, input, hidden, projection, directions, address of offsets, threads, layers;
  // address of the row map, 0 if there is none or it is empty, and with one the rows of x, else 0
  using Numbers = std::array<std::int64_t, 11>;

  explicit Sizes(const Numbers& n)
      : layers(n[8]), map(static_cast<const std::int64_t*>(pointer(n[9]))), room(n[10]) {
    if (!n[6]) {
      padded_.reserve(n[0] + 1);
      for (std::int64_t t = 0; t <= n[0]; ++t) padded_.push_back(t * n[1]);
    }
    const auto* given = static_cast<const std::int64_t*>(pointer(n[6]));
    first_ = {
        n[0], n[1], n[2], n[3], n[4], n[5], given ? given : padded_.data(), static_cast<int>(n[7])};
  }

  Shape layer(std::int64_t index) const {
    Shape shape = first_;
    if (index > 0) shape.input = shape.directions * shape.output();
    return shape;
  }
  std::int64_t rows() const { return first_.offsets[first_.steps]; }
  // Sets the weights of a layer.
  template <class Pointer>
  void set_weights(Weights<Pointer> (&weights)[kMaxDirections], const Addresses& addresses,
                   std::int64_t index) const {
    const std::size_t arity = addresses.size() / (layers * first_.directions);
    for (std::int64_t d = 0; d < first_.directions; ++d) {
      set(weights[d], addresses.data() + (index * first_.directions + d) * arity, arity);
    }
  }

  std::int64_t layers;
  const std::int64_t* map;
  std::int64_t room;

 private:
  Shape first_;
  std::vector<std::int64_t> padded_;
};

inline Type type_of(bool bfloat16) { return bfloat16 ? Type::kBFloat16 : Type::kFloat32; }

// Noise as Python gives it: dropout of h, zoneout of c and of h; and the seed, or none: by its
// expectation.
using Rates = std::array<double, 3>;
using Seed = std::optional<std::int64_t>;

// The packed weights of a stack that Python keeps, for the variant that was active.
struct PackedWeights {
  // `held` and `noisy` as for form_of, of a layer of floats.
  PackedWeights(const Sizes::Numbers& numbers, const std::string& held, bool noisy,
                const Addresses& weights);

  const Kernels& kernels;
  Form form;
  std::vector<Packed> of;  // [layers][kMaxDirections]
};

// The active variant on a stack of layers; `held` as for form_of, `given` its packed weights, not
// read if of another form, or null. `in`: x, h_0, c_0; `out`: y, h_n, c_n; `kept`: gates and c of
// all layers, y of all but the last, and h as it was dropped of all; 0: not wanted.
void forward(const Sizes::Numbers& numbers, bool bfloat16, const std::string& held,
             const PackedWeights* given, const Addresses& weights, const AddressesOf<3>& in,
             const AddressesOf<3>& out, const AddressesOf<4>& kept, const Rates& rates, Seed seed);

// `in`: x, h_0, c_0, the last layer's y, gates, c, the other layers' y, and h as it was dropped;
// `arriving`: dy, dh_n, dc_n, or 0; `out`: dx, or 0, dh_0, dc_0; `dweights`: of a layer all 0: not
// wanted.
void backward(const Sizes::Numbers& numbers, bool bfloat16, const Addresses& weights,
              const AddressesOf<8>& in, const AddressesOf<3>& arriving, const AddressesOf<3>& out,
              const Addresses& dweights, const Rates& rates, Seed seed);

}  // namespace fastlstm
