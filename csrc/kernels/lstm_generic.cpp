#define FASTLSTM_ISA generic
constexpr int kLanes = 4;
constexpr int kRows = 2;
#include "variant.inl"
