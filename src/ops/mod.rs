//! (room: ops)
