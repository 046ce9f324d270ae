use std::fmt::Write;
use std::net::SocketAddr;

use crate::peers::work::{Auth, PeerWork, REPLICAS};

/// The provider of elliptic curves, beside Java's own.
pub(super) const JAVA_SECURITY: &str =
    "security.provider.10=org.bouncycastle.jce.provider.BouncyCastleProvider\n";

/// Each line begins with `-- `, as in its shipped settings; what its benchmark measures is told, and little else.
pub(super) const LOGBACK: &str = r#"<configuration debug="false">
  <appender name="OUT" class="ch.qos.logback.core.ConsoleAppender">
    <encoder><pattern>-- %msg%n</pattern></encoder>
  </appender>
  <root level="INFO"><appender-ref ref="OUT"/></root>
  <logger name="io.netty" level="OFF"/>
</configuration>
"#;

/// A line a replica: id, address, its port for clients, its port for replicas.
pub(super) fn hosts(addresses: &[SocketAddr]) -> String {
    let mut text = String::new();
    for (id, own) in addresses.chunks_exact(2).enumerate() {
        let _ = writeln!(text, "{id} {} {} {}", own[0].ip(), own[0].port(), own[1].port());
    }
    text
}

pub(super) fn system(work: &PeerWork) -> String {
    let (signatures, algorithm, provider, loader) = match work.auth {
        Auth::R => (1, "SHA256withRSA", "SunRsaSign", "RSA"),
        Auth::T | Auth::D => (0, "SHA256withECDSA", "BC", "ECDSA"),
    };
    let view: Vec<String> = (0..REPLICAS).map(|id| id.to_string()).collect();
    let settings = [
        ("communication.useSignatures", signatures.to_string()),
        ("communication.signatureAlgorithm", algorithm.to_owned()),
        ("communication.signatureAlgorithmProvider", provider.to_owned()),
        ("communication.defaultKeyLoader", loader.to_owned()),
        ("communication.defaultkeys", "true".to_owned()),
        ("communication.hashAlgorithm", "SHA-256".to_owned()),
        ("communication.hashAlgorithmProvider", "SUN".to_owned()),
        ("communication.secretKeyAlgorithm", "PBKDF2WithHmacSHA1".to_owned()),
        ("communication.secretKeyAlgorithmProvider", "SunJCE".to_owned()),
        ("communication.bindaddress", "127.0.0.1".to_owned()),
        ("communication.useSenderThread", "true".to_owned()),
        ("communication.inQueueSize", "500000".to_owned()),
        ("communication.outQueueSize", "500000".to_owned()),
        ("servers.num", REPLICAS.to_string()),
        ("servers.f", "1".to_owned()),
        ("initial.view", view.join(",")),
        ("bft", "true".to_owned()),
        ("totalordermulticast.maxbatchsize", work.batch_max.to_string()),
        ("totalordermulticast.timeout", "2000".to_owned()),
        ("totalordermulticast.batchtimeout", "-1".to_owned()),
        ("totalordermulticast.state_transfer", "true".to_owned()),
        ("totalordermulticast.log", "true".to_owned()),
        ("totalordermulticast.log_to_disk", "false".to_owned()),
        ("totalordermulticast.sync_log", "false".to_owned()),
        ("totalordermulticast.checkpoint_period", "1024".to_owned()),
        ("totalordermulticast.checkpoint_to_disk", "false".to_owned()),
        ("ssltls.protocol_version", "TLSv1.2".to_owned()),
        ("ssltls.key_store_file", "EC_KeyPair_256.pkcs12".to_owned()),
        ("ssltls.enabled_ciphers", "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,".to_owned()),
        ("client.invokeOrderedTimeout", "40".to_owned()),
    ];
    settings.iter().fold(String::new(), |mut text, (name, value)| {
        let _ = writeln!(text, "system.{name} = {value}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peers::work::tests::work;

    #[test]
    fn a_host_a_line_with_both_its_ports() {
        let addresses: Vec<SocketAddr> =
            (1..=4).map(|port| SocketAddr::from(([127, 0, 0, 1], port))).collect();
        assert_eq!(hosts(&addresses), "0 127.0.0.1 1 2\n1 127.0.0.1 3 4\n");
    }

    #[test]
    fn the_setting_decides_who_signs() {
        let with_rsa = system(&work(Auth::R));
        assert!(with_rsa.contains("system.communication.useSignatures = 1\n"));
        assert!(with_rsa.contains("signatureAlgorithm = SHA256withRSA\n"));
        let without = system(&work(Auth::D));
        assert!(without.contains("system.communication.useSignatures = 0\n"));
        assert!(without.contains("system.totalordermulticast.maxbatchsize = 100\n"));
    }
}
