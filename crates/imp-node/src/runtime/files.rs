//! How many files the process may have open: each connection is one.

use std::io;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the limit on open files to the most that the process may have without asking anybody, and returns it; nothing
/// where there is none. The usual soft limit, 1,024, is there for programs that use `select`, which this one does not.
///
/// # Errors
///
/// What the system says; the limit is then what it was.
pub fn raise_limit() -> io::Result<Option<u64>> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum {
        setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })?;
    }
    Ok(maximum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_becomes_the_most_there_is_and_stays_it() {
        let most = raise_limit().unwrap();
        assert_eq!(getrlimit(Resource::Nofile).current, most);
        assert_eq!(raise_limit().unwrap(), most);
    }
}
