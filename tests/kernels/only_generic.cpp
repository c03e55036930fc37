// Instead of csrc/dispatch.cpp, where only the portable variant is built.
#include "lstm.h"

namespace fastlstm {

const Kernels* const* supported() {
  static const Kernels* const variants[] = {&generic::kernels, nullptr};
  return variants;
}

const Kernels& active() { return generic::kernels; }

}  // namespace fastlstm
