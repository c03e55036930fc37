#include "pooled_tensor.h"

#include "workspace.h"

namespace fastlstm {
namespace {

struct PooledTensor {
  dlpack::ManagedTensor managed;
  std::vector<std::int64_t> shape;
  Workspace memory;
};

}  // namespace

dlpack::ManagedTensor* make_pooled_tensor(const std::vector<std::int64_t>& shape, bool bfloat16) {
  std::size_t bytes = bfloat16 ? 2 : 4;
  for (const std::int64_t size : shape) bytes *= static_cast<std::size_t>(size);
  auto* pooled = new PooledTensor{{}, shape, Workspace(bytes)};
  const dlpack::DataType type = {static_cast<std::uint8_t>(bfloat16 ? 4 : 2),
                                 static_cast<std::uint8_t>(bfloat16 ? 16 : 32), 1};
  pooled->managed.tensor = {pooled->memory.data(),
                            {1, 0},
                            static_cast<std::int32_t>(shape.size()),
                            type,
                            pooled->shape.data(),
                            nullptr,
                            0};
  pooled->managed.context = pooled;
  pooled->managed.deleter = [](dlpack::ManagedTensor* managed) {
    delete static_cast<PooledTensor*>(managed->context);
  };
  return &pooled->managed;
}

}  // namespace fastlstm
