#define FASTLSTM_ISA avx512bf16
constexpr int kLanes = 16;
constexpr int kRows = 6;
#include "variant.inl"
