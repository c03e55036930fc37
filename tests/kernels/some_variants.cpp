// Instead of csrc/dispatch.cpp, where not all variants are built, but the portable one and, with
// -DFASTLSTM_CHECKED=NAME, another.
#include "lstm.h"
#include "tiles.h"

namespace fastlstm {

const Kernels* const* supported() {
  [[maybe_unused]] static const bool tiles = may_use_tiles();  // for amx
  static const Kernels* const variants[] = {&generic::kernels,
#if defined(FASTLSTM_CHECKED)
                                            &FASTLSTM_CHECKED::kernels,
#endif
                                            nullptr};
  return variants;
}

const Kernels& active() { return generic::kernels; }

}  // namespace fastlstm
