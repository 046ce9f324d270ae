//! The bank's invariant: transfers neither make nor lose money.

use super::{Check, violated};
use crate::sim::service::Service;

pub(super) fn check(whose: &str, service: &Service) -> Check {
    if service.is_balanced() {
        return Ok(());
    }
    violated("money", format!("{whose} has made or lost some"))
}
