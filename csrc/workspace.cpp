#include "workspace.h"

#include <algorithm>
#include <cstdlib>
#include <iterator>
#include <list>
#include <mutex>
#include <new>
#include <stdexcept>
#include <string>

#if defined(__linux__)
#include <sys/mman.h>
#endif

#include "fork.h"

namespace fastlstm {
namespace {

constexpr std::size_t kPage = 4096;
constexpr std::size_t kHugePage = std::size_t{2} << 20;
constexpr std::size_t kKept = std::size_t{256} << 20;  // bytes, in all

std::mutex mutex;
std::size_t kept = 0;

const bool held_across_forks = hold_across_forks<mutex>();

struct Block {
  std::size_t bytes;
  void* data;
};

// Blocks that no call uses, the last used first: a few dozen. Never destroyed: a thread may outlive
// the end of main.
std::list<Block>& blocks() {
  static auto* list = new std::list<Block>;
  return *list;
}

// The smallest block that holds `bytes` and is not much too large.
std::list<Block>::iterator find_block(std::size_t bytes) {
  auto best = blocks().end();
  for (auto block = blocks().begin(); block != blocks().end(); ++block) {
    if (block->bytes < bytes || block->bytes > 2 * bytes) continue;
    if (best == blocks().end() || block->bytes < best->bytes) best = block;
  }
  return best;
}

std::size_t rounded(std::size_t bytes) {
  const std::size_t unit = bytes >= kHugePage ? kHugePage : kPage;
  return std::max(unit, (bytes + unit - 1) / unit * unit);
}

// Gives up the least recently used blocks, until no more than `most` bytes are kept.
void shrink(std::size_t most) {
  while (kept > most) {
    kept -= blocks().back().bytes;
    std::free(blocks().back().data);
    blocks().pop_back();
  }
}

void* allocate(std::size_t bytes) {
  const std::size_t alignment = bytes >= kHugePage ? kHugePage : kPage;
  void* block = std::aligned_alloc(alignment, bytes);
  if (!block) {
    {
      const std::lock_guard<std::mutex> lock(mutex);
      shrink(0);
    }
    block = std::aligned_alloc(alignment, bytes);
  }
  if (!block) {  // in the words of torch's own error, by which callers know it
    throw std::runtime_error("fastlstm: can't allocate memory: you tried to allocate " +
                             std::to_string(bytes) + " bytes.");
  }
#if defined(__linux__)
  if (bytes >= kHugePage) madvise(block, bytes, MADV_HUGEPAGE);
#endif
  return block;
}

}  // namespace

Workspace::Workspace(std::size_t bytes) : data_(nullptr), bytes_(rounded(bytes)) {
  {
    const std::lock_guard<std::mutex> lock(mutex);
    const auto block = find_block(bytes_);
    if (block != blocks().end()) {
      bytes_ = block->bytes;
      data_ = block->data;
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
  try {
    blocks().push_front({bytes_, data_});
  } catch (const std::bad_alloc&) {
    std::free(data_);
    return;
  }
  kept += bytes_;
  shrink(kKept);
}

}  // namespace fastlstm
