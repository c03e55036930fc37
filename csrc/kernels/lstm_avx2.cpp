#define FASTLSTM_ISA avx2
constexpr int kLanes = 8;
constexpr int kRows = 3;
#include "variant.inl"
