// AMX's tile unit: eight registers of 16 rows of 64 bytes. See strips.inl for what is done with it.

constexpr int64_t kStrip = 16;              // rows of a register, and words along k
constexpr int64_t kTwoStrips = 2 * kStrip;  // rows that a product takes at once, if there are

// Sets the tile unit up for this thread, as long as it lives.
class TileUnit {
 public:
  TileUnit() {
    struct alignas(64) {
      uint8_t palette, start_row, reserved[14];
      uint16_t row_bytes[16];
      uint8_t rows[16];
    } layout = {1, 0, {}, {}, {}};
    for (int i = 0; i < 8; ++i) {
      layout.row_bytes[i] = 64;
      layout.rows[i] = kStrip;
    }
    _tile_loadconfig(&layout);
  }
  ~TileUnit() { _tile_release(); }
  TileUnit(const TileUnit&) = delete;
  TileUnit& operator=(const TileUnit&) = delete;
};
