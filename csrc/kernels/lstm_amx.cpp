#define FASTLSTM_ISA amx
constexpr int kLanes = 16;
constexpr int kRows = 6;
#include "variant.inl"
