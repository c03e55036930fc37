// Python's view of the kernels: addresses in, the GIL released. All checks are in
// backends/cpu_checks.py.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <array>
#include <memory>
#include <string>
#include <vector>

#include "lstm.h"
#include "pooled_tensor.h"
#include "stream.h"
#include "weight_cache.h"
#include "workspace.h"

namespace py = pybind11;
using namespace fastlstm;

namespace {

using Address = std::uintptr_t;
// As nn.LSTM has them, the second direction's after the first's: ih, hh, perhaps bias_ih and
// bias_hh, perhaps hr. None at all: not wanted.
using Addresses = std::vector<Address>;

void* pointer(Address address) { return reinterpret_cast<void*>(address); }

template <class Pointer>
void set(Weights<Pointer> (&weights)[kMaxDirections], const Addresses& addresses,
         std::int64_t directions) {
  const std::size_t arity = addresses.size() / directions;
  for (std::int64_t d = 0; arity && d < directions; ++d) {
    const Address* a = addresses.data() + d * arity;
    Weights<Pointer>& w = weights[d];
    w = {pointer(a[0]), pointer(a[1]), nullptr, nullptr, nullptr};
    if (arity > 3) w.bias_ih = pointer(a[2]);
    if (arity > 3) w.bias_hh = pointer(a[3]);
    if (arity % 2) w.hr = pointer(a[arity - 1]);
  }
}

// A layer's sizes as Python gives them, and where the rows of each step begin: given, or for
// address 0 those of a padded batch.
class Sizes {
 public:
  // steps, batch, input, hidden, projection, directions, address of offsets, threads
  using Numbers = std::array<std::int64_t, 8>;

  explicit Sizes(const Numbers& n) {
    if (!n[6]) {
      padded_.reserve(n[0] + 1);
      for (std::int64_t t = 0; t <= n[0]; ++t) padded_.push_back(t * n[1]);
    }
    const auto* given = static_cast<const std::int64_t*>(pointer(n[6]));
    shape = {
        n[0], n[1], n[2], n[3], n[4], n[5], given ? given : padded_.data(), static_cast<int>(n[7])};
  }

  Shape shape;

 private:
  std::vector<std::int64_t> padded_;
};

Type type_of(bool bfloat16) { return bfloat16 ? Type::kBFloat16 : Type::kFloat32; }

template <std::size_t N>
using AddressesOf = std::array<Address, N>;

void forward(const Sizes::Numbers& numbers, bool bfloat16, bool wide, const Addresses& weights,
             const AddressesOf<3>& in, const AddressesOf<3>& out, const AddressesOf<2>& kept) {
  const Kernels& kernels = active();
  py::gil_scoped_release nogil;
  const Sizes sizes(numbers);
  ForwardArgs args{sizes.shape, type_of(bfloat16), wide, wide};
  set(args.weights, weights, args.shape.directions);
  args.x = pointer(in[0]);
  args.h_0 = pointer(in[1]);
  args.c_0 = pointer(in[2]);
  args.y = pointer(out[0]);
  args.h_n = pointer(out[1]);
  args.c_n = pointer(out[2]);
  args.gates = pointer(kept[0]);
  args.c = static_cast<float*>(pointer(kept[1]));
  Packed packed[kMaxDirections];
  const bool keeps_packed = !args.gates && kernels.reads_packed(args);
  for (std::int64_t d = 0; keeps_packed && d < args.shape.directions; ++d) {
    packed[d] = cached_weights(kernels, args.shape, args.type, wide, args.weights[d]);
    args.packed[d] = packed[d].get();
  }
  kernels.forward(args, Workspace(kernels.forward_workspace(args)).data());
}

void backward(const Sizes::Numbers& numbers, bool bfloat16, const Addresses& weights,
              const AddressesOf<6>& in, const AddressesOf<3>& arriving, const AddressesOf<3>& out,
              const Addresses& dweights) {
  const Kernels& kernels = active();
  py::gil_scoped_release nogil;
  const Sizes sizes(numbers);
  BackwardArgs args{sizes.shape, type_of(bfloat16)};
  set(args.weights, weights, args.shape.directions);
  args.x = pointer(in[0]);
  args.h_0 = pointer(in[1]);
  args.c_0 = pointer(in[2]);
  args.y = pointer(in[3]);
  args.gates = pointer(in[4]);
  args.c = static_cast<const float*>(pointer(in[5]));
  args.dy = pointer(arriving[0]);
  args.dh_n = pointer(arriving[1]);
  args.dc_n = pointer(arriving[2]);
  args.dx = pointer(out[0]);
  args.dh_0 = pointer(out[1]);
  args.dc_0 = pointer(out[2]);
  args.wants_dweights = !dweights.empty();
  set(args.dweights, dweights, args.shape.directions);
  kernels.backward(args, Workspace(kernels.backward_workspace(args)).data());
}

// A capsule that DLPack's consumers take over; one that nobody took gives its memory back.
py::object pooled_tensor(std::int64_t a, std::int64_t b, std::int64_t c, bool bfloat16) {
  constexpr const char* kName = "dltensor";
  auto* managed = make_pooled_tensor(a, b, c, bfloat16);
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

std::unique_ptr<Stream> make_stream(const Sizes::Numbers& numbers, std::int64_t layers,
                                    bool bfloat16, bool wide) {
  const auto& n = numbers;
  const Shape shape{1, n[1], n[2], n[3], n[4], 1, nullptr, 1};
  return std::make_unique<Stream>(shape, layers, type_of(bfloat16), wide);
}

void set_weights(Stream& stream, std::int64_t layer, const Addresses& addresses) {
  Weights<const void*> weights[kMaxDirections];
  set(weights, addresses, 1);
  const py::gil_scoped_release nogil;
  stream.set_weights(layer, weights[0]);
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
