// Python's view of the kernels: addresses in, the GIL released. Checks are in
// backends/cpu_checks.py, or for a plain call in direct.cpp.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <array>
#include <memory>
#include <string>
#include <vector>

#include "calls.h"
#include "direct.h"
#include "lstm.h"
#include "pooled_tensor.h"
#include "stream.h"

namespace py = pybind11;
using namespace fastlstm;

namespace {

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

std::unique_ptr<Stream> make_stream(std::int64_t batch, std::int64_t input, std::int64_t hidden,
                                    std::int64_t projection, std::int64_t layers, bool bfloat16,
                                    const std::string& held, double zoneout_c, double zoneout_h) {
  const Shape shape{1, batch, input, hidden, projection, 1, nullptr, 1};
  const Noise noise{0, 0, 0, zoneout_c, zoneout_h, true};
  return std::make_unique<Stream>(shape, layers, bfloat16, held, noise);
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

std::int64_t misfit_at(Address map, std::int64_t count, std::int64_t room) {
  return misfit(static_cast<const std::int64_t*>(pointer(map)), count, room);
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
  py::class_<PackedWeights>(m, "PackedWeights")
      .def(py::init<const Sizes::Numbers&, const std::string&, bool, const Addresses&>(),
           py::call_guard<py::gil_scoped_release>());
  m.def("forward", &forward, py::call_guard<py::gil_scoped_release>());
  m.def("backward", &backward, py::call_guard<py::gil_scoped_release>());
  m.def("misfit", &misfit_at, py::call_guard<py::gil_scoped_release>());
  py::class_<Direct>(m, "Direct")
      .def(py::init<py::type, py::object, std::int64_t>())
      .def("forward", &Direct::forward)
      .def("backward", &Direct::backward);
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
