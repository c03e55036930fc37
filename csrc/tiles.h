// AMX's tile unit, of a process.
#pragma once

namespace fastlstm {

// Asks for the unit's registers, which the operating system gives only to those who ask: they make
// the state of a thread larger by 8 KiB. False: there are none, or it will not.
bool may_use_tiles();

}  // namespace fastlstm
