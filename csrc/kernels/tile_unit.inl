// AMX's tile unit: eight registers of 16 rows of 64 bytes. See strips.inl for what is done with it.

constexpr int64_t kStrip = 16;  // rows of a strip, at most; and words along k of a register

// Rows of a strip, where so many are cut into as few strips as there can be: the unit's time is
// that of a strip's rows.
inline int64_t strip_rows(int64_t count) {
  const int64_t strips = (count + kStrip - 1) / kStrip;
  return strips ? (count + strips - 1) / strips : 1;
}

// Sets this thread's unit up: strips of so many rows in registers 0 to 5, weights in 6 and 7.
inline void set_strip_rows(int64_t rows) {
  struct alignas(64) {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
  } layout = {1, 0, {}, {}, {}};
  for (int i = 0; i < 8; ++i) {
    layout.row_bytes[i] = 64;
    layout.rows[i] = static_cast<uint8_t>(i < 6 ? rows : kStrip);
  }
  _tile_loadconfig(&layout);
}

// A thread's use of its unit, which ends with this.
struct TileUnit {
  TileUnit() {}
  ~TileUnit() { _tile_release(); }
  TileUnit(const TileUnit&) = delete;
  TileUnit& operator=(const TileUnit&) = delete;
};
