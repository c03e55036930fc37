#include <atomic>
#include <cstdlib>
#include <stdexcept>
#include <string>

#if defined(__x86_64__) && defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

#include "lstm.h"

namespace fastlstm {
namespace {

// Whether this process may use AMX's registers: the kernel gives them to those who ask, since they
// make the state of a thread larger by 8 KiB.
bool may_use_tiles() {
#if defined(__x86_64__) && defined(__linux__)
  constexpr long kRequestPermission = 0x1023;  // ARCH_REQ_XCOMP_PERM
  constexpr long kTileData = 18;               // XFEATURE_XTILEDATA
  if (!__builtin_cpu_supports("amx-tile") || !__builtin_cpu_supports("amx-bf16")) return false;
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
#else
  return false;
#endif
}

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
