//! (room: snapshot)
