#include "pooled_tensor.h"

#include "workspace.h"

namespace fastlstm {
namespace {

struct PooledTensor {
  dlpack::ManagedTensor managed;
  std::int64_t shape[3];
  Workspace memory;
};

}  // namespace

dlpack::ManagedTensor* make_pooled_tensor(std::int64_t a, std::int64_t b, std::int64_t c,
                                          bool bfloat16) {
  const std::int64_t bytes = a * b * c * (bfloat16 ? 2 : 4);
  auto* pooled = new PooledTensor{{}, {a, b, c}, Workspace(static_cast<std::size_t>(bytes))};
  const dlpack::DataType type = {static_cast<std::uint8_t>(bfloat16 ? 4 : 2),
                                 static_cast<std::uint8_t>(bfloat16 ? 16 : 32), 1};
  pooled->managed.tensor = {pooled->memory.data(), {1, 0}, 3, type, pooled->shape, nullptr, 0};
  pooled->managed.context = pooled;
  pooled->managed.deleter = [](dlpack::ManagedTensor* managed) {
    delete static_cast<PooledTensor*>(managed->context);
  };
  return &pooled->managed;
}

}  // namespace fastlstm
