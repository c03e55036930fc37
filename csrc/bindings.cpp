// Python's view of the kernels: addresses in, the GIL released. All checks are in backends/cpu.py.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <array>
#include <memory>
#include <new>
#include <vector>

#include "lstm.h"

namespace py = pybind11;
using namespace fastlstm;

namespace {

using Address = std::uintptr_t;
using Addresses = std::array<Address, kMaxDirections>;  // unused directions are 0

template <class T>
T* pointer(Address address) {
  return reinterpret_cast<T*>(address);
}

constexpr std::align_val_t kAlignment{64};

struct AlignedDelete {
  void operator()(float* p) const { ::operator delete[](p, kAlignment); }
};

std::unique_ptr<float[], AlignedDelete> allocate(std::size_t floats) {
  return std::unique_ptr<float[], AlignedDelete>(
      static_cast<float*>(::operator new[](floats * sizeof(float), kAlignment)));
}

// Where the rows of each step begin: given, or for address 0 those of a padded batch.
class Offsets {
 public:
  Offsets(Address given, std::int64_t steps, std::int64_t batch) : given_(given) {
    if (given) return;
    padded_.reserve(steps + 1);
    for (std::int64_t t = 0; t <= steps; ++t) padded_.push_back(t * batch);
  }
  const std::int64_t* data() const {
    return given_ ? pointer<const std::int64_t>(given_) : padded_.data();
  }

 private:
  Address given_;
  std::vector<std::int64_t> padded_;
};

void forward(std::int64_t steps, std::int64_t batch, std::int64_t hidden, std::int64_t directions,
             Address offsets, int threads, std::int64_t input, Address x, Addresses weight_ih,
             Addresses weight_hh, Addresses bias, Address h_0, Address c_0, Address gates,
             Address y, Address c, Address h_n, Address c_n) {
  const Kernels& kernels = active();
  py::gil_scoped_release nogil;
  const Offsets rows(offsets, steps, batch);
  const ForwardArgs args{{steps, batch, hidden, directions, rows.data(), threads},
                         input,
                         pointer<const float>(x),
                         {pointer<const float>(weight_ih[0]), pointer<const float>(weight_ih[1])},
                         {pointer<const float>(weight_hh[0]), pointer<const float>(weight_hh[1])},
                         {pointer<const float>(bias[0]), pointer<const float>(bias[1])},
                         pointer<const float>(h_0),
                         pointer<const float>(c_0),
                         pointer<float>(gates),
                         pointer<float>(y),
                         pointer<float>(c),
                         pointer<float>(h_n),
                         pointer<float>(c_n)};
  kernels.forward(args, allocate(kernels.forward_workspace(args)).get());
}

void backward(std::int64_t steps, std::int64_t batch, std::int64_t hidden, std::int64_t directions,
              Address offsets, int threads, Addresses weight_hh, Address c_0, Address gates,
              Address c, Address dy, Address dh_n, Address dgates, Address dh_0, Address dc_0) {
  const Kernels& kernels = active();
  py::gil_scoped_release nogil;
  const Offsets rows(offsets, steps, batch);
  const BackwardArgs args{{steps, batch, hidden, directions, rows.data(), threads},
                          {pointer<const float>(weight_hh[0]), pointer<const float>(weight_hh[1])},
                          pointer<const float>(c_0),
                          pointer<const float>(gates),
                          pointer<const float>(c),
                          pointer<const float>(dy),
                          pointer<const float>(dh_n),
                          pointer<float>(dgates),
                          pointer<float>(dh_0),
                          pointer<float>(dc_0)};
  kernels.backward(args, allocate(kernels.backward_workspace(args)).get());
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
  m.doc() = "The LSTM recurrence in C++. Tensors cross as addresses; see csrc/lstm.h for shapes.";
  m.def("isas", &isas, "Names of the variants that this CPU runs, best last.");
  m.def("isa", [] { return active().name; }, "Name of the variant in use.");
  m.def("select_isa", &select_isa, py::arg("name"), "Uses the named variant from now on.");
  m.def("forward", &forward);
  m.def("backward", &backward);
}
