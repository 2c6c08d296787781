//! The embedded node: the suite, and what is particular to it.

use crate::conformance::conformance;
use crate::ldk_lab::LdkLab;

mod suite {
    super::conformance! { super::LdkLab, #[tokio::test] }
}
