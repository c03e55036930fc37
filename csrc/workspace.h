// Memory for a call that is kept for the next one: fresh pages cost more than many a small layer.
#pragma once
#include <cstddef>

namespace fastlstm {

// 64-byte aligned, uninitialised. Throws std::bad_alloc.
class Workspace {
 public:
  explicit Workspace(std::size_t bytes);
  ~Workspace();
  Workspace(const Workspace&) = delete;
  Workspace& operator=(const Workspace&) = delete;

  void* data() const { return data_; }

 private:
  void* data_;
  std::size_t bytes_;
};

}  // namespace fastlstm
