// The weights of a layer as its forward pass reads them.

// The weights of one direction, packed.
struct PackedWeights {
  float* hh;    // [blocks][packed words of O][4][kLanes]
  float* ih;    // [blocks][packed words of I][4][kLanes]
  float* bias;  // [blocks][4][kLanes]
  float* hr;    // [panels][words of H][up to kColumns][kLanes], with a projection
};

template <class T>
inline PackedWeights place_weights(const Shape& shape, Arena& arena) {
  const int64_t gates = vectors(shape.hidden) * kGates * kLanes;
  const int64_t projected = vectors(shape.projection) * kLanes;
  return {arena.take<float>(gates * packed_words<T>(shape.output())),
          arena.take<float>(gates * packed_words<T>(shape.input)), arena.take<float>(gates),
          arena.take<float>(projected * words<T>(shape.hidden))};
}

// This share's part of the weights of a direction, packed.
template <class T>
void pack_share(const Shape& shape, const Weights<const void*>& weights, const PackedWeights& out,
                const Share& share) {
  typedef typename T::Element Element;
  const Element* hh = static_cast<const Element*>(weights.hh);
  const Element* ih = static_cast<const Element*>(weights.ih);
  const Element* hr = static_cast<const Element*>(weights.hr);
  const int64_t gates = kGates * kLanes;
  const Range blocks = share.part(vectors(shape.hidden));
  for (int64_t block = blocks.begin; block < blocks.end; ++block) {
    const int64_t unit = block * kLanes;
    pack_gates<T>(hh, shape.hidden, shape.output(), unit,
                  out.hh + block * words<T>(shape.output()) * gates);
    pack_gates<T>(ih, shape.hidden, shape.input, unit,
                  out.ih + block * words<T>(shape.input) * gates);
    pack_bias<T>(weights, shape.hidden, unit, out.bias + block * gates);
  }
  const Tiles panels({0, vectors(shape.projection)}, kColumns);
  const Range own = share.part(panels.count);
  for (int64_t panel = own.begin; panel < own.end; ++panel) {
    const int64_t width = panels.size(panel) * kLanes;
    for (int64_t c = 0; c < panels.size(panel); ++c) {
      const int64_t first = (panels.first(panel) + c) * kLanes;
      const int64_t columns = shape.projection - first < kLanes ? shape.projection - first : kLanes;
      pack_transposed<T>(
          hr + first * shape.hidden, columns, shape.hidden,
          out.hr + panels.first(panel) * kLanes * words<T>(shape.hidden) + c * kLanes, width);
    }
  }
}

#if defined(__AVX512VNNI__)
// The same of weights that are floats, packed as 8 bits.
inline void pack_int8_share(const Shape& shape, const Weights<const void*>& weights,
                            const PackedWeights& out, const Share& share) {
  const float* hh = static_cast<const float*>(weights.hh);
  const float* ih = static_cast<const float*>(weights.ih);
  const Range blocks = share.part(vectors(shape.hidden));
  for (int64_t block = blocks.begin; block < blocks.end; ++block) {
    const int64_t unit = block * kLanes;
    const int64_t units = shape.hidden - unit < kLanes ? shape.hidden - unit : kLanes;
    for (int64_t gate = 0; gate < kGates; ++gate) {
      const auto pack_gate = [&](const float* weight, int64_t depth, float* to) {
        pack_int8_gate(weight + (gate * shape.hidden + unit) * depth, units, depth,
                       to + block * packed_words<Int8>(depth) * kGates * kLanes + gate * kLanes);
      };
      pack_gate(hh, shape.output(), out.hh);
      pack_gate(ih, shape.input, out.ih);
    }
    pack_bias<Float32>(weights, shape.hidden, unit, out.bias + block * kGates * kLanes);
  }
}
#endif

inline size_t packed_size(const Shape& shape, Type type) {
  Arena arena(nullptr);
  with_forward_type(type, [&](auto type) { place_weights<decltype(type)>(shape, arena); });
  return arena.used() / sizeof(float);
}

template <class T>
struct Packing {
  const Shape& shape;
  const Weights<const void*>& weights;
  PackedWeights out;
};

template <class T>
void pack_part(Share share, void* context) {
  const Packing<T>& p = *static_cast<const Packing<T>*>(context);
#if defined(__AVX512VNNI__)
  if constexpr (T::kInteger) return pack_int8_share(p.shape, p.weights, p.out, share);
#endif
  if constexpr (!T::kInteger) pack_share<T>(p.shape, p.weights, p.out, share);
}

template <class T>
void run_pack(const Shape& layer, const Weights<const void*>& weights, float* packed) {
  Shape shape = layer;
  shape.directions = 1;  // else a team has a group for the other, which would pack the same
  Arena arena(packed);
  Packing<T> packing{shape, weights, place_weights<T>(shape, arena)};
  Team(shape, vectors(shape.hidden), false).run(pack_part<T>, &packing);
}

inline void pack(const Shape& shape, Type type, const Weights<const void*>& weights,
                 float* packed) {
  with_forward_type(type, [&](auto type) { run_pack<decltype(type)>(shape, weights, packed); });
}
