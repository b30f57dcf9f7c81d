//! (room: m365)
