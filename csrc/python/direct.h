// A plain call of the kernels, all of it in C++: a small layer takes less time than checks in
// Python.
#pragma once
#include <pybind11/pybind11.h>

#include "dlpack.h"

namespace fastlstm {

// Reads tensors through DLPack's C exchange API. It takes what it knows to be right, and gives None
// for anything else: Python then says what is wrong with it, or does what is rare.
class Direct {
 public:
  // torch.Tensor, whose API is asked for, and torch.empty_like. Tensors of `most` elements or more
  // are left to Python, which has kept memory for them.
  Direct(pybind11::type tensor, pybind11::object empty_like, std::int64_t most);

  // As cpu.forward: (y, h_n, c_n, below, c, gates), or None. With num_layers = 0 one step of one
  // layer, whose tensors lack the dimension of steps, or of layers; y is h_n.
  pybind11::object forward(pybind11::handle x, pybind11::handle h_0, pybind11::handle c_0,
                           pybind11::object weights, std::int64_t num_layers, bool save,
                           int threads);
  // As cpu.backward, with None for gradients that are not needed: (dx, dh_0, dc_0, dweights), or
  // None. `kept`: y, below, c, gates; `arriving`: dy, dh_n, dc_n.
  pybind11::object backward(pybind11::tuple arriving, pybind11::handle x, pybind11::handle h_0,
                            pybind11::handle c_0, pybind11::object weights, std::int64_t num_layers,
                            pybind11::tuple kept, bool needs_dx, pybind11::object needs_dweights,
                            int threads);

 private:
  pybind11::object like(pybind11::handle tensor) const;

  dlpack::ExchangeApi* api_ = nullptr;  // or null: there is none that is known
  pybind11::object empty_like_;
  std::int64_t most_;
};

}  // namespace fastlstm
