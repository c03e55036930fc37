// The part of DLPack's C interface that this needs: dmlc/dlpack, version 1.3, and of 0.8 the tensor
// that Python's from_dlpack takes.
#pragma once
#include <cstdint>

namespace fastlstm::dlpack {

struct Device {
  std::int32_t type;  // 1: CPU
  std::int32_t id;
};
struct DataType {
  std::uint8_t code;  // 2: IEEE floating point, 4: bfloat16
  std::uint8_t bits;
  std::uint16_t lanes;
};
struct Tensor {
  void* data;
  Device device;
  std::int32_t dimensions;
  DataType type;
  std::int64_t* shape;
  std::int64_t* strides;  // null: contiguous
  std::uint64_t byte_offset;
};
struct ManagedTensor {
  Tensor tensor;
  void* context;
  void (*deleter)(ManagedTensor*);
};

// Functions of a library whose Python objects are tensors, a capsule of their type's attribute
// __dlpack_c_exchange_api__. Those that are not called here have no types.
struct ExchangeApi {
  struct {
    std::uint32_t major, minor;
  } version;
  ExchangeApi* previous;
  void* allocate;
  void* managed_from_python;
  void* managed_to_python;
  // The object's memory as it is, for as long as nobody else runs; 0 if it went well. May be null.
  int (*tensor_from_python)(void* object, Tensor* out);
  void* current_stream;
};

}  // namespace fastlstm::dlpack
