//! What the command line asks for.

use crate::step::{STEPS, Step};

pub(crate) const HELP: &str = "\
Runs every check of the repository, in order, and stops at the first that fails.

Usage: cargo verify [STEP...]
       cargo verify list
       cargo verify instructions [--bless]

  STEP...         these steps alone, for example: cargo verify fmt clippy (also: --only fmt,clippy)
  list            the steps and what each checks (also: --list)
  instructions    counts instructions per operation (valgrind) and compares them with tests/instructions.toml
  --bless         writes the counts to that file instead

Exit status: 0 all passed, 1 a check failed, 2 wrong usage.
";

/// What to do.
#[derive(Debug, PartialEq)]
pub(crate) enum Order {
    Help,
    List,
    Check(Vec<Step>),
    Instructions { bless: bool },
}

/// Reads the arguments after the program's name.
pub(crate) fn parse(arguments: &[String]) -> Result<Order, String> {
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        [] => Ok(Order::Check(STEPS.to_vec())),
        ["--help" | "-h" | "help"] => Ok(Order::Help),
        ["list" | "--list"] => Ok(Order::List),
        ["instructions"] => Ok(Order::Instructions { bless: false }),
        ["instructions", "--bless"] => Ok(Order::Instructions { bless: true }),
        ["--only", names] => steps(&names.split(',').map(str::trim).collect::<Vec<_>>()),
        names => steps(names),
    }
}

/// The named steps, in the order in which they always run.
fn steps(names: &[&str]) -> Result<Order, String> {
    if let Some(unknown) = names.iter().find(|name| STEPS.iter().all(|step| step.name() != **name)) {
        let known: Vec<&str> = STEPS.iter().map(|step| step.name()).collect();
        return Err(format!("no step `{unknown}`; there are {}", known.join(", ")));
    }
    Ok(Order::Check(STEPS.iter().copied().filter(|step| names.contains(&step.name())).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Order, String> {
        parse(&line.split_whitespace().map(String::from).collect::<Vec<_>>())
    }

    #[test]
    fn nothing_asks_for_everything() {
        assert_eq!(parsed(""), Ok(Order::Check(STEPS.to_vec())));
    }

    #[test]
    fn named_steps_keep_their_order() {
        let expected = Ok(Order::Check(vec![Step::Format, Step::Clippy]));
        assert_eq!(parsed("--only clippy,fmt"), expected);
        assert_eq!(parsed("clippy fmt"), expected);
    }

    #[test]
    fn an_unknown_step_is_refused_with_the_known_ones() {
        assert_eq!(
            parsed("format"),
            Err("no step `format`; there are fmt, clippy, tests, doctests, docs, sim".into())
        );
    }

    #[test]
    fn instructions_and_bless() {
        assert_eq!(parsed("instructions"), Ok(Order::Instructions { bless: false }));
        assert_eq!(parsed("instructions --bless"), Ok(Order::Instructions { bless: true }));
        assert!(parsed("--bless").is_err());
    }
}
