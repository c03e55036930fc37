#define FASTLSTM_ISA generic
constexpr int kLanes = 4;
#if defined(__aarch64__)
constexpr int kRows = 4;
#else
constexpr int kRows = 2;
#endif
#include "variant.inl"
