// Memory of workspace.h as a tensor of whoever speaks DLPack, for large results.
#pragma once
#include <cstdint>
#include <vector>

#include "dlpack.h"

namespace fastlstm {

// An uninitialised tensor of float, or of bfloat16; `deleter` gives the memory back.
dlpack::ManagedTensor* make_pooled_tensor(const std::vector<std::int64_t>& shape, bool bfloat16);

}  // namespace fastlstm
