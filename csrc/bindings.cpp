// Python's view of the kernels: addresses in, the GIL released. All checks are in
// backends/cpu_checks.py.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <array>
#include <memory>
#include <string>
#include <vector>

#include "arguments.h"
#include "lstm.h"
#include "pooled_tensor.h"
#include "stream.h"
#include "weight_cache.h"
#include "workspace.h"

namespace py = pybind11;
using namespace fastlstm;

namespace {

// kept: gates and c of all layers, and y of all but the last.
void forward(const Sizes::Numbers& numbers, bool bfloat16, bool wide, const Addresses& weights,
             const AddressesOf<3>& in, const AddressesOf<3>& out, const AddressesOf<3>& kept) {
  const Kernels& kernels = active();
  py::gil_scoped_release nogil;
  const Sizes sizes(numbers);
  const Elements elements(sizes.layer(0), sizes.rows());
  const std::int64_t size = bfloat16 && !wide ? 2 : 4;
  std::vector<ForwardArgs> layers(sizes.layers);
  std::vector<Packed> packed(sizes.layers * kMaxDirections);
  for (std::int64_t l = 0; l < sizes.layers; ++l) {
    ForwardArgs& args = layers[l] = {sizes.layer(l), type_of(bfloat16), wide, wide};
    sizes.set_weights(args.weights, weights, l);
    args.x = pointer(in[0]);
    args.h_0 = layer_of(in[1], l, elements.h, size);
    args.c_0 = layer_of(in[2], l, elements.c, size);
    args.y = l + 1 < sizes.layers ? layer_of(kept[2], l, elements.y, size) : pointer(out[0]);
    args.h_n = layer_of(out[1], l, elements.h, size);
    args.c_n = layer_of(out[2], l, elements.c, size);
    args.gates = layer_of(kept[0], l, kGates * elements.kept, size);
    args.c = static_cast<float*>(layer_of(kept[1], l, elements.kept, sizeof(float)));
    const bool keeps_packed = !args.gates && kernels.reads_packed(args);
    for (std::int64_t d = 0; keeps_packed && d < args.shape.directions; ++d) {
      Packed& own = packed[l * kMaxDirections + d];
      own = cached_weights(kernels, args.shape, args.type, wide, args.weights[d]);
      args.packed[d] = own.get();
    }
  }
  const std::size_t bytes = kernels.forward_workspace(layers.data(), sizes.layers);
  kernels.forward(layers.data(), sizes.layers, Workspace(bytes).data());
}

// in: x, h_0, c_0, the last layer's y, gates, c, and the other layers' y.
void backward(const Sizes::Numbers& numbers, bool bfloat16, const Addresses& weights,
              const AddressesOf<7>& in, const AddressesOf<3>& arriving, const AddressesOf<3>& out,
              const Addresses& dweights) {
  const Kernels& kernels = active();
  py::gil_scoped_release nogil;
  const Sizes sizes(numbers);
  const Elements elements(sizes.layer(0), sizes.rows());
  const std::int64_t size = bfloat16 ? 2 : 4;
  std::vector<BackwardArgs> layers(sizes.layers);
  for (std::int64_t l = 0; l < sizes.layers; ++l) {
    BackwardArgs& args = layers[l] = {sizes.layer(l), type_of(bfloat16)};
    sizes.set_weights(args.weights, weights, l);
    sizes.set_weights(args.dweights, dweights, l);
    args.wants_dweights = !dweights.empty();
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
  }
  const std::size_t bytes = kernels.backward_workspace(layers.data(), sizes.layers);
  kernels.backward(layers.data(), sizes.layers, Workspace(bytes).data());
}

// A capsule that DLPack's consumers take over; one that nobody took gives its memory back.
py::object pooled_tensor(const std::vector<std::int64_t>& shape, bool bfloat16) {
  constexpr const char* kName = "dltensor";
  auto* managed = make_pooled_tensor(shape, bfloat16);
  PyObject* capsule = PyCapsule_New(managed, kName, [](PyObject* unused) {
    if (!PyCapsule_IsValid(unused, kName)) return;
    auto* left = static_cast<dlpack::ManagedTensor*>(PyCapsule_GetPointer(unused, kName));
    left->deleter(left);
  });
  if (!capsule) {
    managed->deleter(managed);
    throw py::error_already_set();
  }
  return py::reinterpret_steal<py::object>(capsule);
}

std::unique_ptr<Stream> make_stream(const Sizes::Numbers& numbers, bool bfloat16, bool wide) {
  const auto& n = numbers;
  const Shape shape{1, n[1], n[2], n[3], n[4], 1, nullptr, 1};
  return std::make_unique<Stream>(shape, n[8], type_of(bfloat16), wide);
}

void set_weights(Stream& stream, std::int64_t layer, const Addresses& addresses) {
  Weights<const void*> weights;
  set(weights, addresses.data(), addresses.size());
  const py::gil_scoped_release nogil;
  stream.set_weights(layer, weights);
}

void advance(Stream& stream, Address x, Address y, std::int64_t steps, int threads) {
  const py::gil_scoped_release nogil;
  stream.advance(pointer(x), pointer(y), steps, threads);
}

std::vector<std::string> isas() {
  std::vector<std::string> names;
  for (const Kernels* const* variant = supported(); *variant; ++variant) {
    names.emplace_back((*variant)->name);
  }
  return names;
}

}  // namespace

PYBIND11_MODULE(_C, m, py::mod_gil_not_used()) {
  m.doc() = "LSTM layers in C++. Tensors cross as addresses; see csrc/lstm.h for shapes.";
  m.def("isas", &isas, "Names of the variants that this CPU runs, best last.");
  m.def("isa", [] { return active().name; }, "Name of the variant in use.");
  m.def("select_isa", &select_isa, py::arg("name"), "Uses the named variant from now on.");
  m.def("forward", &forward);
  m.def("backward", &backward);
  m.def("pooled_tensor", &pooled_tensor);
  py::class_<Stream>(m, "Stream")
      .def(py::init(&make_stream))
      .def("set_weights", &set_weights)
      .def("advance", &advance)
      .def("read_state",
           [](Stream& s, Address h, Address c) {
             const py::gil_scoped_release nogil;
             s.read_state(pointer(h), pointer(c));
           })
      .def("write_state", [](Stream& s, Address h, Address c) {
        const py::gil_scoped_release nogil;
        s.write_state(pointer(h), pointer(c));
      });
}
