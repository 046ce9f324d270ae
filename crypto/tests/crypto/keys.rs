use std::collections::BTreeMap;

use hypostyle_app_api::Digest;
use hypostyle_crypto::{KeyError, PublicKey, SUITES, SigningKey, Suite, VerifyingKey};
use proptest::prelude::*;

use crate::cluster::key;

fn forms() -> BTreeMap<&'static str, &'static str> {
    include_str!("../data/rsa-forms.txt").lines().filter_map(|line| line.split_once(' ')).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

fn refusal(text: &str) -> KeyError {
    text.parse::<PublicKey>().unwrap_err()
}

#[test]
fn every_suite_signs_prints_and_reads_back() {
    for suite in SUITES {
        let key = key(suite);
        let public: PublicKey = key.public().to_string().parse().unwrap();
        assert_eq!((key.suite(), public.suite(), &public), (suite, suite, &key.public()));
        assert!(public.to_string().starts_with(&format!("{suite}:")));
        let again = SigningKey::from_pem(&key.to_pem()).unwrap();
        assert_eq!(again.public(), public);
        assert_ne!(public.fingerprint(), Digest::ZERO);
        assert_ne!(SigningKey::generate(Suite::Ed25519).public().fingerprint(), public.fingerprint());

        let verifying = VerifyingKey::new(&public).unwrap();
        let signature = again.sign(b"message");
        assert_eq!(signature.len(), suite.signature_len());
        assert!(verifying.verify(b"message", &signature));
        assert!(!verifying.verify(b"massage", &signature));
        assert_any_change_is_refused(&verifying, &signature);
    }
}

fn assert_any_change_is_refused(key: &VerifyingKey, signature: &[u8]) {
    for bit in (0..signature.len() * 8).step_by(5) {
        let mut changed = signature.to_vec();
        changed[bit / 8] ^= 1 << (bit % 8);
        assert!(!key.verify(b"message", &changed), "bit {bit}");
    }
    let longer = [&[0], signature, &[0]].concat();
    for wrong in
        [&longer[1..], &longer[..=signature.len()], &signature[1..], &longer[1..signature.len()], &[]]
    {
        assert!(!key.verify(b"message", wrong), "{} bytes", wrong.len());
    }
    assert!(!key.verify(b"message", &vec![0; signature.len()]));
    assert!(!key.verify(b"message", &vec![255; signature.len()]));
}

#[test]
fn nothing_printed_for_debugging_is_secret() {
    for suite in [Suite::Ed25519, Suite::EcdsaP256] {
        let key = key(suite);
        assert_eq!(format!("{key:?}"), format!("SigningKey({:?})", key.public()));
        assert_eq!(
            format!("{:?}", key.public()),
            format!("PublicKey({suite}, {:?})", key.public().fingerprint())
        );
    }
}

#[test]
fn only_the_canonical_form_of_an_rsa_signature_is_accepted() {
    let mut forms = forms();
    let key = VerifyingKey::new(&forms["key"].parse().unwrap()).unwrap();
    let message = unhex(forms["message"]);
    assert!(key.verify(&message, &unhex(forms["good"])));
    assert!(key.verify(&unhex(forms["zero-message"]), &unhex(forms["zero-good"])));
    assert!(!key.verify(&unhex(forms["zero-message"]), &unhex(forms["zero-stripped"])));
    forms.retain(|name, _| {
        !["key", "message", "good"].contains(name) && !name.starts_with("zero") && !is_key(name)
    });
    assert_eq!(forms.len(), 10);
    for (name, signature) in forms {
        assert!(!key.verify(&message, &unhex(signature)), "{name}");
    }
}

fn is_key(name: &str) -> bool {
    ["weak-modulus", "longer-modulus", "exponent-3", "pkcs1-key"].contains(&name)
}

#[test]
fn weak_and_mislabelled_rsa_keys_are_refused() {
    let forms = forms();
    assert!(matches!(refusal(forms["weak-modulus"]), KeyError::ModulusSize { bits: 1024, .. }));
    assert!(matches!(refusal(forms["longer-modulus"]), KeyError::ModulusSize { bits: 2056, .. }));
    assert!(matches!(refusal(forms["exponent-3"]), KeyError::Exponent));
    assert!(matches!(refusal(forms["pkcs1-key"]), KeyError::Malformed(Suite::Rsa2048)));
    let as_3072 = forms["key"].replace("rsa-2048", "rsa-3072");
    assert!(matches!(refusal(&as_3072), KeyError::ModulusSize { suite: Suite::Rsa3072, bits: 2048 }));
    let error = refusal(forms["weak-modulus"]).to_string();
    assert!(error.contains("1024") && error.contains("hypostyle key"), "{error}");
    for suite in ["ed25519", "ecdsa-p256"] {
        assert!(matches!(refusal(&forms["key"].replace("rsa-2048", suite)), KeyError::Malformed(_)));
    }
}

#[test]
fn public_keys_have_one_text() {
    let rsa = forms()["key"].to_string();
    let p256 = key(Suite::EcdsaP256).public().to_string();
    let ed25519 = key(Suite::Ed25519).public().to_string();
    for good in [rsa, p256, ed25519] {
        for bad in [format!("{good}A"), format!("{good}="), format!("{good}\n"), format!(" {good}")] {
            assert!(bad.parse::<PublicKey>().is_err(), "{bad:?}");
        }
        assert!(good[..good.len() - 1].parse::<PublicKey>().is_err());
        assert!(format!("{good}AAAA").parse::<PublicKey>().is_err(), "trailing bytes");
    }
    for bad in ["", ":", "rsa-2048:", "rsa-1024:AAAA", "ed25519", "ed25519:AAAA"] {
        assert!(bad.parse::<PublicKey>().is_err(), "{bad}");
    }
    assert!(matches!(refusal(&format!("ed25519:{}", "A".repeat(1 << 20))), KeyError::Text));
}

#[test]
fn p256_points_off_the_curve_or_in_other_encodings_are_refused() {
    use base64::Engine as _;
    let base64 = base64::engine::general_purpose::URL_SAFE_NO_PAD;
    let text = key(Suite::EcdsaP256).public().to_string();
    let point = base64.decode(text.split_once(':').unwrap().1).unwrap();
    let parse = |point: &[u8]| format!("ecdsa-p256:{}", base64.encode(point)).parse::<PublicKey>();
    assert!(parse(&point).is_ok());
    let mut off = point.clone();
    off[64] ^= 1;
    assert!(parse(&off).is_err());
    for first in (0..=255).filter(|first| *first != 4) {
        let hybrid = [&[first], &point[1..]].concat();
        assert!(parse(&hybrid).is_err(), "first byte {first}");
    }
    let compressed = [&[2 + (point[64] & 1)], &point[1..33]].concat();
    assert!(parse(&compressed).is_err());
    assert!(parse(&[0]).is_err());
}

#[test]
fn ed25519_signatures_with_s_plus_the_order_are_refused() {
    const ORDER: [u8; 32] = [
        0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0,
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
    ];
    let key = key(Suite::Ed25519);
    let verifying = VerifyingKey::new(&key.public()).unwrap();
    let mut signature = key.sign(b"message").to_vec();
    let mut carry = 0;
    for (byte, order) in signature[32..].iter_mut().zip(ORDER) {
        let sum = u16::from(*byte) + u16::from(order) + carry;
        *byte = sum.to_le_bytes()[0];
        carry = sum >> 8;
    }
    assert_eq!(carry, 0);
    assert!(!verifying.verify(b"message", &signature));
}

#[test]
fn keys_made_by_openssl_are_read_and_weak_or_foreign_ones_refused() {
    let rsa = SigningKey::from_pem(include_str!("../data/rsa-2048.pem")).unwrap();
    assert_eq!(rsa.public().to_string(), forms()["key"]);
    assert_eq!(rsa.sign(&unhex(forms()["message"])), unhex(forms()["good"]));
    let suite = |pem| SigningKey::from_pem(pem).map(|key| key.suite());
    assert_eq!(suite(include_str!("../data/ed25519.pem")).unwrap(), Suite::Ed25519);
    assert_eq!(suite(include_str!("../data/p256.pem")).unwrap(), Suite::EcdsaP256);
    for refused in [include_str!("../data/rsa-1024.pem"), include_str!("../data/p384.pem"), "", "garbage"] {
        assert!(matches!(suite(refused), Err(KeyError::Pem)));
    }
    assert!(matches!(suite(include_str!("../data/rsa-exponent-3.pem")), Err(KeyError::Exponent)));
    let public = include_str!("../data/ed25519.pem").replace("PRIVATE KEY", "PUBLIC KEY");
    assert!(matches!(suite(&public), Err(KeyError::Pem)));
}

proptest! {
    #[test]
    fn any_text_is_refused_or_canonical(
        suite in prop::sample::select(SUITES.map(Suite::name).to_vec()),
        text in "[A-Za-z0-9_-]{0,90}",
    ) {
        let text = format!("{suite}:{text}");
        if let Ok(key) = text.parse::<PublicKey>() {
            prop_assert_eq!(key.to_string(), text);
        }
    }

    #[test]
    fn any_pem_is_survived(text in "(-----BEGIN PRIVATE KEY-----\n[A-Za-z0-9+/=\n]{0,200}\n-----END PRIVATE KEY-----)|.{0,50}") {
        prop_assert!(SigningKey::from_pem(&text).is_err());
    }
}
