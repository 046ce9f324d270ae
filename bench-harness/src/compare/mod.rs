mod bootstrap;
mod ours;
mod peers;
mod results;
mod results_table;
mod table;

pub use bootstrap::Ratio;
pub use peers::{Failed, Report, peers};
pub use results::{Change, Comparison, Pair, compare_results};
pub use results_table::results_table;
pub use table::table;
