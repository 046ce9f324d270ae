use std::fmt;

/// Why no figure is printed, in words for a person: what, where, and what to do about it.
#[derive(Debug)]
pub enum Failure {
    /// The command line asks for something that can't be run.
    Usage(String),
    /// A check of the figures failed: exit code 1.
    Check(String),
    /// The run did not do what it was asked to measure: its numbers would be worthless.
    Invalid(String),
}

impl Failure {
    /// The exit code of this failure.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Check(_) => 1,
            Self::Usage(_) => 2,
            Self::Invalid(_) => 3,
        }
    }
}

/// The exit code for any error of this crate: a [`Failure`]'s own, else 1.
#[must_use]
pub fn exit_code(error: &anyhow::Error) -> u8 {
    error.downcast_ref::<Failure>().map_or(1, Failure::exit_code)
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(text) => f.write_str(text),
            Self::Check(text) => write!(f, "check failed: {text}"),
            Self::Invalid(text) => write!(f, "run invalid: {text}"),
        }
    }
}

impl std::error::Error for Failure {}

/// Shorthand for a [`Failure::Usage`].
///
/// # Errors
/// Always.
pub fn usage<T>(text: impl Into<String>) -> anyhow::Result<T> {
    Err(Failure::Usage(text.into()).into())
}

/// Shorthand for a [`Failure::Invalid`].
///
/// # Errors
/// Always.
pub fn invalid<T>(text: impl Into<String>) -> anyhow::Result<T> {
    Err(Failure::Invalid(text.into()).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exit_code_survives_context() {
        let error = invalid::<()>("digests differ").expect_err("a failure").context("point 1");
        assert_eq!(exit_code(&error), 3);
        assert_eq!(exit_code(&anyhow::anyhow!("disk full")), 1);
    }
}
