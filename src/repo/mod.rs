//! (room: repo)
