#include "calls.h"

#include <cstring>

#include "workspace.h"

namespace fastlstm {
namespace {

// Layer `index` of a tensor whose first dimension is that of the layers; null stays null.
void* layer_of(Address tensor, std::int64_t index, std::int64_t elements, std::int64_t size) {
  return tensor ? pointer(tensor + index * elements * size) : nullptr;
}

// Elements of one layer's tensors.
struct Elements {
  std::int64_t h, c, y, kept;

  Elements(const Shape& shape, std::int64_t rows)
      : h(shape.directions * shape.batch * shape.output()),
        c(shape.directions * shape.batch * shape.hidden),
        y(rows * shape.directions * shape.output()),
        kept(rows * shape.directions * shape.padded()) {}
};

Noise noise_of(std::int64_t layer, const Rates& rates, Seed seed) {
  const auto number = static_cast<std::uint64_t>(seed.value_or(0));
  const auto rate = [&](int n) { return static_cast<float>(rates[n]); };
  return {number, layer, rate(0), rate(1), rate(2), !seed};
}

// Zeros in the rows of a buffer that no packed row is mapped to.
void clear_others(const Sizes& sizes, void* buffer, std::size_t row_bytes) {
  if (!buffer || !sizes.room || sizes.room == sizes.rows()) return;
  std::vector<bool> used(sizes.room);
  for (std::int64_t n = 0; n < sizes.rows(); ++n) used[sizes.map[n]] = true;
  for (std::int64_t row = 0; row < sizes.room; ++row) {
    if (!used[row]) std::memset(static_cast<char*>(buffer) + row * row_bytes, 0, row_bytes);
  }
}

}  // namespace

std::int64_t misfit(const std::int64_t* map, std::int64_t count, std::int64_t room) {
  std::vector<bool> used(room);
  for (std::int64_t n = 0; n < count; ++n) {
    if (map[n] < 0 || map[n] >= room || used[map[n]]) return n;
    used[map[n]] = true;
  }
  return -1;
}

PackedWeights::PackedWeights(const Sizes::Numbers& numbers, const std::string& held, bool noisy,
                             const Addresses& weights)
    : kernels(active()) {
  const Sizes sizes(numbers);
  of.resize(sizes.layers * kMaxDirections);
  form = form_of(kernels, sizes.layer(0), false, held, noisy);
  for (std::int64_t l = 0; l < sizes.layers; ++l) {
    const Shape shape = sizes.layer(l);
    Weights<const void*> own[kMaxDirections];
    sizes.set_weights(own, weights, l);
    for (std::int64_t d = 0; d < shape.directions; ++d) {
      of[l * kMaxDirections + d] = pack_weights(kernels, shape, form, own[d]);
    }
  }
}

void forward(const Sizes::Numbers& numbers, bool bfloat16, const std::string& held,
             const PackedWeights* given, const Addresses& weights, const AddressesOf<3>& in,
             const AddressesOf<3>& out, const AddressesOf<4>& kept, const Rates& rates, Seed seed) {
  const Kernels& kernels = active();
  const Sizes sizes(numbers);
  const Elements elements(sizes.layer(0), sizes.rows());
  const bool noisy = noise_of(0, rates, seed).any();
  const Form form = form_of(kernels, sizes.layer(0), bfloat16, held, noisy);
  const std::int64_t size = form.element();
  std::vector<ForwardArgs> layers(sizes.layers);
  std::vector<Packed> packed(sizes.layers * kMaxDirections);
  for (std::int64_t l = 0; l < sizes.layers; ++l) {
    ForwardArgs& args = layers[l] = {sizes.layer(l), form.type, form.wide, form.wide};
    sizes.set_weights(args.weights, weights, l);
    args.x = pointer(in[0]);
    args.h_0 = layer_of(in[1], l, elements.h, size);
    args.c_0 = layer_of(in[2], l, elements.c, size);
    args.y = l + 1 < sizes.layers ? layer_of(kept[2], l, elements.y, size) : pointer(out[0]);
    args.h_n = layer_of(out[1], l, elements.h, size);
    args.c_n = layer_of(out[2], l, elements.c, size);
    args.gates = layer_of(kept[0], l, kGates * elements.kept, size);
    args.c = static_cast<float*>(layer_of(kept[1], l, elements.kept, sizeof(float)));
    args.noise = noise_of(l, rates, seed);
    args.dropped = layer_of(kept[3], l, elements.y, size);
    const bool keeps_packed = !args.gates && (form.rounds() || kernels.reads_packed(args));
    for (std::int64_t d = 0; keeps_packed && d < args.shape.directions; ++d) {
      Packed& own = packed[l * kMaxDirections + d];
      own = given && &given->kernels == &kernels && given->form.type == form.type
                ? given->of[l * kMaxDirections + d]
                : cached_weights(kernels, args.shape, form, args.weights[d]);
      args.packed[d] = own.get();
    }
  }
  layers.front().x_rows = layers.back().y_rows = sizes.map;
  const Shape& last = layers.back().shape;
  clear_others(sizes, layers.back().y, last.directions * last.output() * size);
  const std::size_t bytes = kernels.forward_workspace(layers.data(), sizes.layers);
  kernels.forward(layers.data(), sizes.layers, Workspace(bytes).data());
}

void backward(const Sizes::Numbers& numbers, bool bfloat16, const Addresses& weights,
              const AddressesOf<8>& in, const AddressesOf<3>& arriving, const AddressesOf<3>& out,
              const Addresses& dweights, const Rates& rates, Seed seed) {
  const Kernels& kernels = active();
  const Sizes sizes(numbers);
  const Elements elements(sizes.layer(0), sizes.rows());
  const std::int64_t size = bfloat16 ? 2 : 4;
  std::vector<BackwardArgs> layers(sizes.layers);
  for (std::int64_t l = 0; l < sizes.layers; ++l) {
    BackwardArgs& args = layers[l] = {sizes.layer(l), type_of(bfloat16)};
    sizes.set_weights(args.weights, weights, l);
    sizes.set_weights(args.dweights, dweights, l);
    args.wants_dweights = args.dweights[0].hh != nullptr;  // ih may have no elements
    args.x = pointer(in[0]);
    args.h_0 = layer_of(in[1], l, elements.h, size);
    args.c_0 = layer_of(in[2], l, elements.c, size);
    args.y = l + 1 < sizes.layers ? layer_of(in[6], l, elements.y, size) : pointer(in[3]);
    args.gates = layer_of(in[4], l, kGates * elements.kept, size);
    args.c = static_cast<const float*>(layer_of(in[5], l, elements.kept, sizeof(float)));
    args.dy = pointer(arriving[0]);
    args.dh_n = layer_of(arriving[1], l, elements.h, size);
    args.dc_n = layer_of(arriving[2], l, elements.c, size);
    args.dx = pointer(out[0]);
    args.dh_0 = layer_of(out[1], l, elements.h, size);
    args.dc_0 = layer_of(out[2], l, elements.c, size);
    args.noise = noise_of(l, rates, seed);
    args.dropped = layer_of(in[7], l, elements.y, size);
  }
  layers.front().x_rows = layers.back().y_rows = sizes.map;
  clear_others(sizes, layers.front().dx, layers.front().shape.input * size);
  const std::size_t bytes = kernels.backward_workspace(layers.data(), sizes.layers);
  kernels.backward(layers.data(), sizes.layers, Workspace(bytes).data());
}

}  // namespace fastlstm
