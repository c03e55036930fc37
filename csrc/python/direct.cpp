#include "direct.h"

#include <initializer_list>

#include "calls.h"

namespace py = pybind11;

namespace fastlstm {
namespace {

using Extents = std::initializer_list<std::int64_t>;

// Tensors above this many elements lie in kept memory (cpu.py); their calls take long anyway.
constexpr std::int64_t kMostElements = std::int64_t{1} << 18;

// Reads tensors, and notes whether all were as they should be.
class Reader {
 public:
  Reader(const dlpack::ExchangeApi& api, py::handle first) : api_(api) {
    dlpack::Tensor tensor;
    fits_ = read(first, tensor);
    type_ = tensor.type;
    const bool known = is(type_, 2, 32) || is(type_, 4, 16);
    fits_ = fits_ && known;
  }

  bool fits() const { return fits_; }
  bool bfloat16() const { return type_.code == 4; }
  // The extents of a tensor of three dimensions; else zeros.
  std::array<std::int64_t, 3> extents(py::handle object) {
    dlpack::Tensor tensor;
    if (!fits_ || !read(object, tensor) || tensor.dimensions != 3) return {};
    return {tensor.shape[0], tensor.shape[1], tensor.shape[2]};
  }
  // The address of a contiguous tensor of this shape, of the type of the first one or float32.
  Address take(py::handle object, Extents shape, bool float32 = false) {
    dlpack::Tensor tensor;
    if (!fits_) return 0;
    fits_ = read(object, tensor) && has(tensor, shape) && tensor.device.type == 1 &&
            (float32 ? is(tensor.type, 2, 32) : is(tensor.type, type_.code, type_.bits));
    return fits_ ? reinterpret_cast<Address>(tensor.data) + tensor.byte_offset : 0;
  }
  // The tensor, its elements in order: a gradient that a sum sends back is one element, expanded.
  py::object contiguous(py::handle object) const {
    dlpack::Tensor tensor;
    const bool is = object.is_none() || !read(object, tensor) || is_contiguous(tensor);
    return is ? py::reinterpret_borrow<py::object>(object) : object.attr("contiguous")();
  }
  // As take, or 0 for None.
  Address take_if(py::handle object, Extents shape) {
    return object.is_none() ? 0 : take(object, shape);
  }

 private:
  static bool is(dlpack::DataType type, int code, int bits) {
    return type.code == code && type.bits == bits && type.lanes == 1;
  }
  static bool has(const dlpack::Tensor& tensor, Extents shape) {
    if (tensor.dimensions != static_cast<std::int32_t>(shape.size())) return false;
    std::int64_t count = 1;
    for (std::size_t d = 0; d < shape.size(); ++d) {
      if (tensor.shape[d] != shape.begin()[d]) return false;
      count *= tensor.shape[d];
    }
    return count > 0 && count < kMostElements && is_contiguous(tensor);
  }
  static bool is_contiguous(const dlpack::Tensor& tensor) {
    std::int64_t stride = 1;
    for (std::int32_t d = tensor.dimensions - 1; d >= 0; --d) {
      if (tensor.shape[d] > 1 && tensor.strides && tensor.strides[d] != stride) return false;
      stride *= tensor.shape[d];
    }
    return true;
  }
  bool read(py::handle object, dlpack::Tensor& to) const {
    if (api_.tensor_from_python(object.ptr(), &to) == 0) return true;
    PyErr_Clear();
    return false;
  }

  const dlpack::ExchangeApi& api_;
  dlpack::DataType type_{};
  bool fits_ = true;
};

// A list or a tuple.
class Items {
 public:
  explicit Items(const py::object& sequence)
      : fast_(
            py::reinterpret_steal<py::object>(PySequence_Fast(sequence.ptr(), "not a sequence"))) {
    if (!fast_) throw py::error_already_set();
  }
  std::int64_t size() const { return PySequence_Fast_GET_SIZE(fast_.ptr()); }
  py::handle operator[](std::int64_t n) const { return PySequence_Fast_GET_ITEM(fast_.ptr(), n); }

 private:
  py::object fast_;
};

// The sizes of a stack, by the letters of lstm.h and L layers, S = L * D.
struct Stack {
  std::int64_t T, B, I, H, O, L, D, S;
  std::int64_t arity;  // weights of a direction of a layer
  std::int64_t width;  // of a row of c that is kept
  bool fits;

  Stack(Reader& read, py::handle x, py::handle h_0, py::handle c_0, std::int64_t weights,
        std::int64_t num_layers)
      : L(num_layers) {
    const auto x_shape = read.extents(x), h_shape = read.extents(h_0), c_shape = read.extents(c_0);
    T = x_shape[0], B = x_shape[1], I = x_shape[2];
    S = c_shape[0], H = c_shape[2], O = h_shape[2];
    D = L > 0 ? S / L : 0;
    arity = S > 0 ? weights / S : 0;
    width = D * ((H + kPadding - 1) / kPadding * kPadding);
    fits = read.fits() && T * B * I * H * O > 0 && (D == 1 || D == 2) && D * L == S && arity >= 2 &&
           arity <= 5 && arity * S == weights && (arity % 2 == 1 || O == H);
  }

  Sizes::Numbers numbers(int threads) const {
    return {T, B, I, H, arity % 2 ? O : 0, D, 0, threads, L};
  }
  // Of the weights or their gradients.
  Addresses take(Reader& read, const Items& weights) const {
    Addresses addresses(weights.size());
    for (std::int64_t n = 0; n < weights.size(); ++n) {
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

py::object new_empty(py::handle tensor, Extents shape) {
  py::tuple sizes(shape.size());
  for (std::size_t d = 0; d < shape.size(); ++d) sizes[d] = py::int_(shape.begin()[d]);
  return tensor.attr("new_empty")(sizes);
}

}  // namespace

py::object Direct::like(py::handle tensor) const {
  PyObject* made = PyObject_CallOneArg(empty_like_.ptr(), tensor.ptr());
  if (!made) throw py::error_already_set();
  return py::reinterpret_steal<py::object>(made);
}

Direct::Direct(py::type tensor, py::object empty_like) : empty_like_(std::move(empty_like)) {
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
  Reader read(*api_, x);
  const Items items(given);
  const Stack s(read, x, h_0, c_0, items.size(), num_layers);
  const std::int64_t rows = s.T * s.B, features = s.D * s.O;
  const std::int64_t most = save ? s.L * rows * 4 * s.width : rows * features;
  if (!s.fits || most >= kMostElements || (save && read.bfloat16())) return py::none();
  const Addresses weights = s.take(read, items);
  const AddressesOf<3> in = {read.take(x, {s.T, s.B, s.I}), read.take(h_0, {s.S, s.B, s.O}),
                             read.take(c_0, {s.S, s.B, s.H})};
  if (!read.fits()) return py::none();
  const py::object y = new_empty(x, {s.T, s.B, features});
  const py::object h_n = like(h_0), c_n = like(c_0);
  py::object below = py::none(), c = py::none(), gates = py::none();
  if (save) c = new_empty(x, {s.L, rows, s.width});
  if (save) gates = new_empty(x, {s.L, rows, 4 * s.width});
  if (save && s.L > 1) below = new_empty(x, {s.L - 1, rows, features});
  const AddressesOf<3> out = {read.take(y, {s.T, s.B, features}), read.take(h_n, {s.S, s.B, s.O}),
                              read.take(c_n, {s.S, s.B, s.H})};
  const AddressesOf<3> kept = {read.take_if(gates, {s.L, rows, 4 * s.width}),
                               read.take_if(c, {s.L, rows, s.width}),
                               read.take_if(below, {s.L - 1, rows, features})};
  if (!read.fits()) return py::none();
  {
    const py::gil_scoped_release nogil;
    fastlstm::forward(s.numbers(threads), read.bfloat16(), false, weights, in, out, kept);
  }
  return py::make_tuple(y, h_n, c_n, below, c, gates);
}

py::object Direct::backward(py::tuple arriving, py::handle x, py::handle h_0, py::handle c_0,
                            py::object given, std::int64_t num_layers, py::tuple kept,
                            bool needs_dx, bool needs_dweights, int threads) {
  if (!api_) return py::none();
  Reader read(*api_, x);
  const Items items(given);
  const Stack s(read, x, h_0, c_0, items.size(), num_layers);
  if (!s.fits || (s.L > 1 && kept[1].is_none())) return py::none();
  const std::int64_t rows = s.T * s.B, features = s.D * s.O;
  const Addresses weights = s.take(read, items);
  const AddressesOf<7> in = {read.take(x, {s.T, s.B, s.I}),
                             read.take(h_0, {s.S, s.B, s.O}),
                             read.take(c_0, {s.S, s.B, s.H}),
                             read.take(kept[0], {s.T, s.B, features}),
                             read.take(kept[3], {s.L, rows, 4 * s.width}),
                             read.take(kept[2], {s.L, rows, s.width}, true),
                             s.L > 1 ? read.take(kept[1], {s.L - 1, rows, features}) : 0};
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
    dweights[n] = needs_dweights ? like(items[n]) : py::none();
  }
  const AddressesOf<3> out = {read.take_if(dx, {s.T, s.B, s.I}), read.take(dh_0, {s.S, s.B, s.O}),
                              read.take(dc_0, {s.S, s.B, s.H})};
  const Addresses wanted = needs_dweights ? s.take(read, Items(dweights)) : Addresses();
  if (!read.fits()) return py::none();
  {
    const py::gil_scoped_release nogil;
    fastlstm::backward(s.numbers(threads), read.bfloat16(), weights, in, gradients, out, wanted);
  }
  return py::make_tuple(dx, dh_0, dc_0, dweights);
}

}  // namespace fastlstm
