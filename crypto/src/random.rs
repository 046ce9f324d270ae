/// Bytes that nobody can predict, from the system's generator.
///
/// # Panics
/// When the system has none.
#[must_use]
pub fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    aws_lc_rs::rand::fill(&mut bytes).expect("the system's random generator works");
    bytes
}
