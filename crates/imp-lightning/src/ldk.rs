//! The embedded node.
