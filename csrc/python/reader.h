// Tensors of Python read in C++, through DLPack's C exchange API.
#pragma once
#include <pybind11/pybind11.h>

#include <array>
#include <initializer_list>

#include "calls.h"
#include "dlpack.h"

namespace fastlstm {

namespace py = pybind11;

using Extents = std::initializer_list<std::int64_t>;

// Reads tensors, and notes whether all were as they should be.
class Reader {
 public:
  // Takes tensors of fewer than `most` elements, of the type of the first one. If `flat`, those of
  // three dimensions lack the first one, which is 1.
  Reader(const dlpack::ExchangeApi& api, py::handle first, std::int64_t most, bool flat)
      : api_(api), most_(most), flat_(flat) {
    dlpack::Tensor tensor{};
    fits_ = read(first, tensor);
    type_ = tensor.type;
    const bool known = is(type_, 2, 32) || is(type_, 4, 16);
    fits_ = fits_ && known;
  }

  bool fits() const { return fits_; }
  bool bfloat16() const { return type_.code == 4; }
  // The extents of a tensor of three dimensions; else zeros.
  std::array<std::int64_t, 3> extents(py::handle object) {
    dlpack::Tensor tensor{};
    if (!fits_ || !read(object, tensor) || tensor.dimensions != (flat_ ? 2 : 3)) return {};
    if (flat_) return {1, tensor.shape[0], tensor.shape[1]};
    return {tensor.shape[0], tensor.shape[1], tensor.shape[2]};
  }
  // The address of a contiguous tensor of this shape, of the type of the first one or float32.
  Address take(py::handle object, Extents shape, bool float32 = false) {
    dlpack::Tensor tensor{};
    if (!fits_) return 0;
    fits_ = read(object, tensor) && has(tensor, shape) && tensor.device.type == 1 &&
            (float32 ? is(tensor.type, 2, 32) : is(tensor.type, type_.code, type_.bits));
    return fits_ ? reinterpret_cast<Address>(tensor.data) + tensor.byte_offset : 0;
  }
  // The tensor, its elements in order: a gradient that a sum sends back is one element, expanded.
  py::object contiguous(py::handle object) const {
    dlpack::Tensor tensor{};
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
  bool has(const dlpack::Tensor& tensor, Extents shape) const {
    const std::size_t lacking = flat_ && shape.size() == 3 ? 1 : 0;
    if (tensor.dimensions != static_cast<std::int32_t>(shape.size() - lacking)) return false;
    std::int64_t count = 1;
    for (std::size_t d = lacking; d < shape.size(); ++d) {
      if (tensor.shape[d - lacking] != shape.begin()[d]) return false;
      count *= shape.begin()[d];
    }
    return count > 0 && count < most_ && is_contiguous(tensor);
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
  std::int64_t most_;
  bool flat_;
  dlpack::DataType type_{};
  bool fits_ = true;
};

// The items of a sequence, kept alive: its owner may put others in their places meanwhile.
class Items {
 public:
  explicit Items(const py::object& sequence)
      : tuple_(py::reinterpret_steal<py::object>(PySequence_Tuple(sequence.ptr()))) {
    if (!tuple_) throw py::error_already_set();
  }
  std::int64_t size() const { return PyTuple_GET_SIZE(tuple_.ptr()); }
  py::handle operator[](std::int64_t n) const { return PyTuple_GET_ITEM(tuple_.ptr(), n); }

 private:
  py::object tuple_;
};

}  // namespace fastlstm
