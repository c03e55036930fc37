// Memory of workspace.h as a tensor of whoever speaks DLPack, for large results.
#pragma once
#include <cstdint>
#include <vector>

// The part of DLPack's C interface that this needs (dmlc/dlpack, version 0.8).
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

}  // namespace fastlstm::dlpack

namespace fastlstm {

// An uninitialised tensor of float, or of bfloat16; `deleter` gives the memory back.
dlpack::ManagedTensor* make_pooled_tensor(const std::vector<std::int64_t>& shape, bool bfloat16);

}  // namespace fastlstm
