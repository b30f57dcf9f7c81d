//! The command line: arguments, configuration and printing, and no logic beyond them.
