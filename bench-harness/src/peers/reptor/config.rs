use std::fmt::Write;
use std::net::SocketAddr;

use super::certificates;
use crate::peers::work::{PeerWork, REPLICAS, REPLY_BYTES};

/// Its messages at INFO with their time, as without a configuration, and nothing below.
pub(super) const LOGBACK: &str = r#"<configuration debug="false">
  <appender name="OUT" class="ch.qos.logback.core.ConsoleAppender">
    <encoder><pattern>%d{HH:mm:ss.SSS} [%thread] %-5level %logger{36} - %msg%n</pattern></encoder>
  </appender>
  <root level="INFO"><appender-ref ref="OUT"/></root>
</configuration>
"#;

/// Who listens where: four addresses a replica, then the control addresses, the load generator's last.
pub(super) struct Addresses<'a> {
    replicas: &'a [SocketAddr],
    control: &'a [SocketAddr],
}

impl<'a> Addresses<'a> {
    pub(super) fn of(addresses: &'a [SocketAddr]) -> Self {
        let (replicas, control) = addresses.split_at(addresses.len().min(4 * REPLICAS));
        Self { replicas, control }
    }

    pub(super) fn control(&self) -> Vec<SocketAddr> {
        self.control.to_vec()
    }
}

/// The shipped files, and behind them, so that it counts, what makes it order every request and check every message.
pub(super) fn configuration(shipped: &[String], work: &PeerWork, addresses: &[SocketAddr]) -> String {
    let mut text = shipped.join("\n");
    text.push('\n');
    for (name, value) in overrides(work) {
        let _ = writeln!(text, "{name} = {value}");
    }
    let Addresses { replicas, control } = Addresses::of(addresses);
    for (replica, own) in replicas.chunks_exact(4).enumerate() {
        for (index, address) in own.iter().enumerate() {
            let _ = writeln!(text, "addresses.server.{replica}.{index} = {address}");
        }
    }
    for (replica, address) in control.iter().take(REPLICAS).enumerate() {
        let _ = writeln!(text, "addresses.server.{replica}.control = {address}");
    }
    if let Some(address) = control.get(REPLICAS) {
        let _ = writeln!(text, "addresses.clients.0.control = {address}");
    }
    text
}

fn overrides(work: &PeerWork) -> Vec<(&'static str, String)> {
    let (clients, replicas) = certificates(work.auth);
    vec![
        ("benchmark.application", "zero".to_owned()),
        ("benchmark.zero.writerate", "100".to_owned()),
        ("benchmark.dummy_request_certs", "false".to_owned()),
        ("benchmark.verify_replies", "true".to_owned()),
        ("benchmark.request_size", work.payload.to_string()),
        ("benchmark.reply_size", REPLY_BYTES.to_string()),
        ("benchmark.requests_per_client", work.outstanding.to_string()),
        ("client.readonly_optimization", "false".to_owned()),
        ("agreement.checkpoint_interval", "1000".to_owned()),
        // A least size above 1 waits for ever under little load.
        ("agreement.batchsize_min", "1".to_owned()),
        ("agreement.batchsize_max", work.batch_max.to_string()),
        ("clients.number", work.clients.to_string()),
        ("clients.hosts", "1".to_owned()),
        ("schedulers.client.init_number", "1".to_owned()),
        ("crypto.clients.cert_algo", clients.to_owned()),
        ("crypto.replicas.strong.cert_algo", replicas.to_owned()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peers::work::Auth;
    use crate::peers::work::tests::work;

    #[test]
    fn the_overrides_stand_behind_the_shipped_settings() {
        let addresses: Vec<SocketAddr> =
            (1..=21).map(|port| SocketAddr::from(([127, 0, 0, 1], port))).collect();
        let shipped = ["benchmark.zero.writerate = 0".to_owned(), "x = 1".to_owned()];
        let text = configuration(&shipped, &work(Auth::T), &addresses);
        let last = |name: &str| {
            let mut lines = text.lines().rev().filter_map(|line| line.split_once(" = "));
            lines.find(|(key, _)| *key == name).map(|(_, value)| value.to_owned())
        };
        assert_eq!(last("benchmark.zero.writerate").as_deref(), Some("100"));
        assert_eq!(last("crypto.clients.cert_algo").as_deref(), Some("HMAC_SHA256"));
        assert_eq!(last("crypto.replicas.strong.cert_algo").as_deref(), Some("RSA_2048_SHA256"));
        assert_eq!(last("addresses.server.3.3").as_deref(), Some("127.0.0.1:16"));
        assert_eq!(last("addresses.server.0.control").as_deref(), Some("127.0.0.1:17"));
        assert_eq!(last("addresses.clients.0.control").as_deref(), Some("127.0.0.1:21"));
    }
}
