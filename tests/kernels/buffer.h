// Memory that shows whether anybody reads or writes beside it.
#pragma once
#include <cstring>

#include "layer.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#endif

namespace check {

// Some bytes between two guards, all of them ones: NaN in either type. What is read beside them
// spoils a result, what is written there shows; and the address sanitizer, if there, sees both.
class Guarded {
 public:
  static constexpr size_t kGuard = 64;

  Guarded() = default;
  // `memory` holds kGuard more bytes at either end. The bytes begin `shift` behind the first guard.
  Guarded(void* memory, size_t bytes, size_t shift)
      : begin_(static_cast<unsigned char*>(memory)),
        data_(begin_ + kGuard + shift),
        bytes_(bytes),
        end_(begin_ + bytes + 2 * kGuard) {
    std::memset(begin_, 0xff, end_ - begin_);
#if defined(__SANITIZE_ADDRESS__)
    ASAN_POISON_MEMORY_REGION(begin_, data_ - begin_);
    ASAN_POISON_MEMORY_REGION(data_ + bytes_, end_ - data_ - bytes_);
#endif
  }

  unsigned char* data() const { return data_; }
  size_t bytes() const { return bytes_; }
  // Whether the guards are as they were. The sanitizer watches them no longer.
  bool intact() const {
#if defined(__SANITIZE_ADDRESS__)
    ASAN_UNPOISON_MEMORY_REGION(begin_, end_ - begin_);
#endif
    return all_ones(begin_, data_) && all_ones(data_ + bytes_, end_);
  }

 private:
  static bool all_ones(const unsigned char* from, const unsigned char* to) {
    while (from < to && *from == 0xff) ++from;
    return from == to;
  }

  unsigned char* begin_ = nullptr;
  unsigned char* data_ = nullptr;
  size_t bytes_ = 0;
  unsigned char* end_ = nullptr;
};

// A tensor, on no better boundary than that of its elements. NaN until it is set.
class Buffer {
 public:
  Buffer() = default;
  Buffer(Buffer&&) = default;
  Buffer& operator=(Buffer&&) = default;
  Buffer(size_t count, Type type)
      : size_(type == Type::kFloat32 ? 4 : 2), lines_(count * size_ / 64 + 3) {
    if (count > 0) guarded_ = Guarded(lines_.data(), count * size_, size_);
  }

  void* data() const { return guarded_.data(); }  // null if it is empty
  size_t size() const { return guarded_.bytes() / size_; }
  size_t bytes() const { return guarded_.bytes(); }
  bool intact() const { return guarded_.intact(); }
  bool operator==(const Buffer& other) const {
    return guarded_.bytes() == other.guarded_.bytes() &&
           (!data() || std::memcmp(data(), other.data(), guarded_.bytes()) == 0);
  }
  double operator[](size_t i) const {
    uint32_t bits = 0;
    std::memcpy(reinterpret_cast<char*>(&bits) + 4 - size_, guarded_.data() + i * size_, size_);
    float value;
    std::memcpy(&value, &bits, 4);
    return value;
  }
  void set(const Doubles& values) {
    for (size_t i = 0; i < values.size(); ++i) {
      const float value = static_cast<float>(values[i]);
      std::memcpy(guarded_.data() + i * size_, reinterpret_cast<const char*>(&value) + 4 - size_,
                  size_);
    }
  }

 private:
  struct alignas(64) Line {
    unsigned char bytes[64];
  };

  size_t size_ = 4;
  std::vector<Line> lines_;
  Guarded guarded_;
};

}  // namespace check
