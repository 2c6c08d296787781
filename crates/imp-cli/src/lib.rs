//! The command line imp.
