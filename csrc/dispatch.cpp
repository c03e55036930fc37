#include <atomic>
#include <cstdlib>
#include <stdexcept>
#include <string>

#include "lstm.h"
#include "tiles.h"

namespace fastlstm {
namespace {

struct Variants {
  const Kernels* list[6] = {&generic::kernels};

  Variants() {
#if defined(__x86_64__)
    __builtin_cpu_init();
    int count = 1;
    if (__builtin_cpu_supports("x86-64-v3")) list[count++] = &avx2::kernels;
    if (!__builtin_cpu_supports("x86-64-v4")) return;
    list[count++] = &avx512::kernels;
    if (__builtin_cpu_supports("avx512bf16") && __builtin_cpu_supports("avx512vnni")) {
      list[count++] = &avx512bf16::kernels;
      if (may_use_tiles()) list[count++] = &amx::kernels;
    }
#endif
  }
};

const Kernels& find(const std::string& name, const std::string& asked_by) {
  std::string known;
  for (const Kernels* const* variant = supported(); *variant; ++variant) {
    if (name == (*variant)->name) return **variant;
    known += (known.empty() ? "" : ", ") + std::string((*variant)->name);
  }
  throw std::runtime_error(asked_by + "=" + name +
                           " is unknown or not supported by this CPU, which runs: " + known);
}

const Kernels& best() {
  if (const char* wanted = std::getenv("FASTLSTM_CPU_ISA")) return find(wanted, "FASTLSTM_CPU_ISA");
  const Kernels* const* variant = supported();
  while (variant[1]) ++variant;
  return **variant;
}

std::atomic<const Kernels*> selected{nullptr};

}  // namespace

const Kernels* const* supported() {
  static const Variants variants;
  return variants.list;
}

const Kernels& active() {
  const Kernels* kernels = selected.load(std::memory_order_acquire);
  if (kernels) return *kernels;
  selected = &best();
  return *selected;
}

void select_isa(const char* name) { selected = &find(name, "isa"); }

}  // namespace fastlstm
