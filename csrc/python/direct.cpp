#include "direct.h"

#include "reader.h"

namespace fastlstm {
namespace {

// The sizes of a stack, by the letters of lstm.h and L layers, S = L * D.
struct Stack {
  std::int64_t T, B, I, H, O, L, D, S;
  std::int64_t arity;  // weights of a direction of a layer
  std::int64_t width;  // of a row of c that is kept
  bool fits;

  Stack(Reader& read, py::handle x, py::handle h_0, py::handle c_0, std::int64_t weights,
        std::int64_t num_layers)
      : L(num_layers > 0 ? num_layers : 1) {
    const auto x_shape = read.extents(x), h_shape = read.extents(h_0), c_shape = read.extents(c_0);
    T = x_shape[0], B = x_shape[1], I = x_shape[2];
    S = c_shape[0], H = c_shape[2], O = h_shape[2];
    D = S / L;
    arity = S > 0 ? weights / S : 0;
    width = D * ((H + kPadding - 1) / kPadding * kPadding);
    fits = read.fits() && T * B * I * H * O > 0 && (D == 1 || D == 2) && D * L == S && arity >= 2 &&
           arity <= 5 && arity * S == weights && (arity % 2 == 1 || O == H);
  }

  Sizes::Numbers numbers(int threads) const {
    return {T, B, I, H, arity % 2 ? O : 0, D, 0, threads, L, 0, 0};
  }
  // Of the weights, or of their gradients, None where they are not needed.
  Addresses take(Reader& read, const Items& weights, bool all) const {
    Addresses addresses(weights.size());
    for (std::int64_t n = 0; n < weights.size(); ++n) {
      if (!all && weights[n].is_none()) continue;
      const std::int64_t which = n % arity;
      const std::int64_t input = n < arity * D ? I : D * O;
      if (which < 2) {
        addresses[n] = read.take(weights[n], {4 * H, which == 0 ? input : O});
      } else if (which == arity - 1 && arity % 2) {
        addresses[n] = read.take(weights[n], {O, H});
      } else {
        addresses[n] = read.take(weights[n], {4 * H});
      }
    }
    return addresses;
  }
};

py::object new_empty(py::handle tensor, Extents shape, bool flat = false) {
  py::tuple sizes(shape.size() - flat);
  for (std::size_t d = flat; d < shape.size(); ++d) sizes[d - flat] = py::int_(shape.begin()[d]);
  return tensor.attr("new_empty")(sizes);
}

}  // namespace

py::object Direct::like(py::handle tensor) const {
  PyObject* made = PyObject_CallOneArg(empty_like_.ptr(), tensor.ptr());
  if (!made) throw py::error_already_set();
  return py::reinterpret_steal<py::object>(made);
}

Direct::Direct(py::type tensor, py::object empty_like, std::int64_t most)
    : empty_like_(std::move(empty_like)), most_(most) {
  constexpr const char* kAttribute = "__dlpack_c_exchange_api__";
  if (!py::hasattr(tensor, kAttribute)) return;
  const py::object capsule = tensor.attr(kAttribute);
  constexpr const char* kName = "dlpack_exchange_api";
  if (!PyCapsule_IsValid(capsule.ptr(), kName)) return;
  auto* api = static_cast<dlpack::ExchangeApi*>(PyCapsule_GetPointer(capsule.ptr(), kName));
  while (api && api->version.major > 1) api = api->previous;
  if (api && api->version.major == 1 && api->tensor_from_python) api_ = api;
}

py::object Direct::forward(py::handle x, py::handle h_0, py::handle c_0, py::object given,
                           std::int64_t num_layers, bool save, int threads) {
  if (!api_) return py::none();
  const bool cell = num_layers == 0;
  Reader read(*api_, x, most_, cell);
  const Items items(given);
  const Stack s(read, x, h_0, c_0, items.size(), num_layers);
  const std::int64_t rows = s.T * s.B, features = s.D * s.O;
  const std::int64_t most = save ? s.L * rows * 4 * s.width : rows * features;
  if (!s.fits || most >= most_ || (save && read.bfloat16())) return py::none();
  const Addresses weights = s.take(read, items, true);
  const AddressesOf<3> in = {read.take(x, {s.T, s.B, s.I}), read.take(h_0, {s.S, s.B, s.O}),
                             read.take(c_0, {s.S, s.B, s.H})};
  if (!read.fits()) return py::none();
  const py::object h_n = like(h_0), c_n = like(c_0);
  const py::object y = cell ? h_n : features == s.I ? like(x) : new_empty(x, {s.T, s.B, features});
  py::object below = py::none(), c = py::none(), gates = py::none();
  if (save) c = new_empty(x, {s.L, rows, s.width}, cell);
  if (save) gates = new_empty(x, {s.L, rows, 4 * s.width}, cell);
  if (save && s.L > 1) below = new_empty(x, {s.L - 1, rows, features});
  const AddressesOf<3> out = {read.take(y, {s.T, s.B, features}), read.take(h_n, {s.S, s.B, s.O}),
                              read.take(c_n, {s.S, s.B, s.H})};
  const AddressesOf<4> kept = {read.take_if(gates, {s.L, rows, 4 * s.width}),
                               read.take_if(c, {s.L, rows, s.width}),
                               read.take_if(below, {s.L - 1, rows, features}), 0};
  if (!read.fits()) return py::none();
  {
    const py::gil_scoped_release nogil;
    const bool bfloat16 = read.bfloat16();
    fastlstm::forward(s.numbers(threads), bfloat16, "", nullptr, weights, in, out, kept, {}, {});
  }
  return py::make_tuple(y, h_n, c_n, below, c, gates);
}

py::object Direct::backward(py::tuple arriving, py::handle x, py::handle h_0, py::handle c_0,
                            py::object given, std::int64_t num_layers, py::tuple kept,
                            bool needs_dx, py::object needs_dweights, int threads) {
  if (!api_) return py::none();
  Reader read(*api_, x, most_, num_layers == 0);
  const Items items(given);
  const Stack s(read, x, h_0, c_0, items.size(), num_layers);
  const Items needs(needs_dweights);
  if (!s.fits || needs.size() != s.L || (s.L > 1 && kept[1].is_none())) return py::none();
  const std::int64_t rows = s.T * s.B, features = s.D * s.O;
  const Addresses weights = s.take(read, items, true);
  const AddressesOf<8> in = {read.take(x, {s.T, s.B, s.I}),
                             read.take(h_0, {s.S, s.B, s.O}),
                             read.take(c_0, {s.S, s.B, s.H}),
                             read.take(kept[0], {s.T, s.B, features}),
                             read.take(kept[3], {s.L, rows, 4 * s.width}),
                             read.take(kept[2], {s.L, rows, s.width}, true),
                             s.L > 1 ? read.take(kept[1], {s.L - 1, rows, features}) : 0,
                             0};
  const py::object dy = read.contiguous(arriving[0]), dh_n = read.contiguous(arriving[1]),
                   dc_n = read.contiguous(arriving[2]);
  const AddressesOf<3> gradients = {read.take_if(dy, {s.T, s.B, features}),
                                    read.take_if(dh_n, {s.S, s.B, s.O}),
                                    read.take_if(dc_n, {s.S, s.B, s.H})};
  if (!read.fits()) return py::none();
  const py::object dx = needs_dx ? like(x) : py::none();
  const py::object dh_0 = like(h_0), dc_0 = like(c_0);
  py::list dweights(items.size());
  for (std::int64_t n = 0; n < items.size(); ++n) {
    const bool needed =
        py::bool_(py::reinterpret_borrow<py::object>(needs[n * s.L / items.size()]));
    dweights[n] = needed ? like(items[n]) : py::none();
  }
  const AddressesOf<3> out = {read.take_if(dx, {s.T, s.B, s.I}), read.take(dh_0, {s.S, s.B, s.O}),
                              read.take(dc_0, {s.S, s.B, s.H})};
  const Addresses wanted = s.take(read, Items(dweights), false);
  if (!read.fits()) return py::none();
  {
    const py::gil_scoped_release nogil;
    fastlstm::backward(s.numbers(threads), read.bfloat16(), weights, in, gradients, out, wanted, {},
                       {});
  }
  return py::make_tuple(dx, dh_0, dc_0, dweights);
}

}  // namespace fastlstm
