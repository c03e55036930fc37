// Numbers below the normal ones, 2^-126 in float.
#pragma once

namespace fastlstm {

// Subnormal numbers are zero while it lives, on this thread: each would cost its product some
// hundred cycles, as when states or gradients fade, and no sum of a layer tells them from zero.
class NoSubnormals {
 public:
#if defined(__x86_64__)
  NoSubnormals() : before_(__builtin_ia32_stmxcsr()) {
    constexpr unsigned kFlushToZero = 0x8000, kSubnormalsAreZero = 0x0040;
    __builtin_ia32_ldmxcsr(before_ | kFlushToZero | kSubnormalsAreZero);
  }
  ~NoSubnormals() { __builtin_ia32_ldmxcsr(before_); }
  NoSubnormals(const NoSubnormals&) = delete;

 private:
  unsigned before_;
#endif
};

}  // namespace fastlstm
