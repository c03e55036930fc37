#include "workspace.h"

#include <algorithm>
#include <cstdlib>
#include <iterator>
#include <map>
#include <mutex>
#include <new>

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace fastlstm {
namespace {

constexpr std::size_t kPage = 4096;
constexpr std::size_t kHugePage = std::size_t{2} << 20;
constexpr std::size_t kKept = std::size_t{256} << 20;  // bytes, in all

std::mutex mutex;
std::size_t kept = 0;

// Blocks that no call uses, by size. Never destroyed: a thread may outlive the end of main.
std::multimap<std::size_t, void*>& blocks() {
  static auto* map = new std::multimap<std::size_t, void*>;
  return *map;
}

std::size_t rounded(std::size_t bytes) {
  const std::size_t unit = bytes >= kHugePage ? kHugePage : kPage;
  return std::max(unit, (bytes + unit - 1) / unit * unit);
}

void* allocate(std::size_t bytes) {
  const std::size_t alignment = bytes >= kHugePage ? kHugePage : kPage;
  void* block = std::aligned_alloc(alignment, bytes);
  if (!block) throw std::bad_alloc();
#if defined(__linux__)
  if (bytes >= kHugePage) madvise(block, bytes, MADV_HUGEPAGE);
#endif
  return block;
}

}  // namespace

Workspace::Workspace(std::size_t bytes) : data_(nullptr), bytes_(rounded(bytes)) {
  {
    const std::lock_guard<std::mutex> lock(mutex);
    const auto block = blocks().lower_bound(bytes_);
    if (block != blocks().end() && block->first <= 2 * bytes_) {
      bytes_ = block->first;
      data_ = block->second;
      kept -= bytes_;
      blocks().erase(block);
    }
  }
  if (!data_) data_ = allocate(bytes_);
}

Workspace::~Workspace() {
  const std::lock_guard<std::mutex> lock(mutex);
  if (bytes_ > kKept) {
    std::free(data_);
    return;
  }
  blocks().emplace(bytes_, data_);
  kept += bytes_;
  while (kept > kKept) {  // the largest are the cheapest to do without, byte for byte
    const auto largest = std::prev(blocks().end());
    kept -= largest->first;
    std::free(largest->second);
    blocks().erase(largest);
  }
}

}  // namespace fastlstm
