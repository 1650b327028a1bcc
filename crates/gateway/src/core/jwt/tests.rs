use ring::{
    rand::SystemRandom,
    signature::{self, KeyPair as _},
};
use serde_json::json;

use super::*;

const NOW_S: u64 = 1_800_000_000;
const SECRET: &[u8; 32] = b"0123456789abcdef0123456789abcdef";

fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn token(head: &Value, claims: &Value, sign: impl FnOnce(&[u8]) -> Vec<u8>) -> String {
    let signed = format!(
        "{}.{}",
        encode(head.to_string()),
        encode(claims.to_string())
    );
    let signature = sign(signed.as_bytes());
    format!("{signed}.{}", encode(signature))
}

fn by_secret(signed: &[u8]) -> Vec<u8> {
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, SECRET);
    ring::hmac::sign(&key, signed).as_ref().to_vec()
}

fn jwt(set: Value) -> Jwt {
    Jwt {
        keys: keys(&set.to_string()).unwrap(),
        issuer: Some("https://issuer.example".to_owned()),
        audiences: vec!["shop".to_owned(), "bank".to_owned()],
        leeway_s: 30,
    }
}

fn claims() -> Value {
    json!({"iss": "https://issuer.example", "aud": "shop", "sub": "ann", "exp": NOW_S + 60})
}

fn secret() -> Value {
    json!({"keys": [{"kty": "oct", "kid": "a", "k": encode(SECRET)}]})
}

#[test]
fn claims_are_looked_at() {
    let jwt = jwt(secret());
    let with = |change: Value| {
        let mut claims = claims();
        for (name, value) in change.as_object().unwrap() {
            claims[name] = value.clone();
        }
        let token = token(&json!({"alg": "HS256", "kid": "a"}), &claims, by_secret);
        jwt.verify(&token, NOW_S)
    };
    let cases = [
        (json!({}), Ok("ann")),
        (json!({"sub": null}), Ok("")),
        (json!({"aud": ["x", "bank"]}), Ok("ann")),
        (json!({"aud": ["x"]}), Err(JwtError::Audience)),
        (json!({"aud": null}), Err(JwtError::Audience)),
        (
            json!({"iss": "https://other.example"}),
            Err(JwtError::Issuer),
        ),
        (json!({"iss": null}), Err(JwtError::Issuer)),
        (json!({"exp": null}), Err(JwtError::Expired)),
        (json!({"exp": NOW_S - 29}), Ok("ann")),
        (json!({"exp": NOW_S - 30}), Err(JwtError::Expired)),
        (json!({"exp": "tomorrow"}), Err(JwtError::Malformed)),
        (json!({"exp": -1}), Err(JwtError::Malformed)),
        (json!({"nbf": NOW_S + 30}), Ok("ann")),
        (json!({"nbf": NOW_S as f64 + 31.5}), Err(JwtError::Early)),
    ];
    for (change, expected) in cases {
        let found = with(change.clone());
        assert_eq!(found.as_deref().map_err(|it| *it), expected, "{change}");
    }
}

#[test]
fn every_algorithm_and_no_other() {
    let random = SystemRandom::new();
    let document = signature::Ed25519KeyPair::generate_pkcs8(&random).unwrap();
    let edwards = signature::Ed25519KeyPair::from_pkcs8(document.as_ref()).unwrap();
    let algorithm = &signature::ECDSA_P256_SHA256_FIXED_SIGNING;
    let document = signature::EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
    let curve = signature::EcdsaKeyPair::from_pkcs8(algorithm, document.as_ref(), &random).unwrap();
    let point = curve.public_key().as_ref();
    let edwards_point = edwards.public_key().as_ref();
    let set = json!({"keys": [
        {"kty": "EC", "crv": "P-256", "kid": "e", "x": encode(&point[1..33]), "y": encode(&point[33..])},
        {"kty": "OKP", "crv": "Ed25519", "use": "sig", "x": encode(edwards_point)},
        {"kty": "oct", "alg": "HS256", "kid": "s", "k": encode(SECRET)},
        {"kty": "EC", "crv": "P-521", "kid": "unknown here"},
    ]});
    let jwt = jwt(set);
    assert_eq!(jwt.keys.len(), 3);
    let by_curve = |signed: &[u8]| curve.sign(&random, signed).unwrap().as_ref().to_vec();
    let by_edwards = |signed: &[u8]| edwards.sign(signed).as_ref().to_vec();
    let verify = |head: Value, sign: &dyn Fn(&[u8]) -> Vec<u8>| {
        jwt.verify(&token(&head, &claims(), sign), NOW_S)
    };
    let ann = || Ok("ann".to_owned());
    assert_eq!(
        verify(json!({"alg": "ES256", "kid": "e"}), &by_curve),
        ann()
    );
    assert_eq!(
        verify(json!({"alg": "EdDSA", "kid": "any"}), &by_edwards),
        ann()
    );
    assert_eq!(verify(json!({"alg": "HS256"}), &by_secret), ann());
    // A public key is no secret, another key is another key, and nothing is no signature.
    let by_point = |signed: &[u8]| {
        let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, point);
        ring::hmac::sign(&key, signed).as_ref().to_vec()
    };
    let wrong = [
        (
            json!({"alg": "HS256", "kid": "e"}),
            &by_point as &dyn Fn(&[u8]) -> Vec<u8>,
            JwtError::NoKey,
        ),
        (json!({"alg": "HS256"}), &by_point, JwtError::Signature),
        (
            json!({"alg": "ES256", "kid": "x"}),
            &by_curve,
            JwtError::NoKey,
        ),
        (
            json!({"alg": "none"}),
            &|_: &[u8]| Vec::new(),
            JwtError::NoKey,
        ),
        (
            json!({"alg": "HS256", "crit": ["b64"]}),
            &by_secret,
            JwtError::Malformed,
        ),
        (json!({}), &by_secret, JwtError::Malformed),
    ];
    for (head, sign, expected) in wrong {
        assert_eq!(verify(head.clone(), sign), Err(expected), "{head}");
    }
}

/// RFC 7515 appendix A.2.
#[test]
fn an_rsa_signature_of_the_standard() {
    let modulus = "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ";
    let token = "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw";
    let set = json!({"keys": [{"kty": "RSA", "n": modulus, "e": "AQAB"}]});
    let jwt = Jwt {
        keys: keys(&set.to_string()).unwrap(),
        issuer: Some("joe".to_owned()),
        audiences: Vec::new(),
        leeway_s: 0,
    };
    assert_eq!(jwt.verify(token, 1_300_819_379), Ok(String::new()));
    assert_eq!(jwt.verify(token, 1_300_819_380), Err(JwtError::Expired));
    let mut other = token.to_owned();
    other.replace_range(40..41, "X");
    assert_eq!(jwt.verify(&other, 1_300_819_379), Err(JwtError::Signature));
}

#[test]
fn what_is_no_token() {
    let jwt = jwt(secret());
    let long = "a".repeat(TOKEN_BYTES_MAX + 1);
    for text in [
        "",
        "a",
        "a.b",
        "a.b.c",
        "..",
        "e30.e30.!",
        "W10.e30.AA",
        &long,
    ] {
        assert_eq!(jwt.verify(text, NOW_S), Err(JwtError::Malformed), "{text}");
    }
}

#[test]
fn what_is_no_set() {
    let short = encode([1; 31]);
    let weak = encode([255; 128]);
    let cases = [
        (json!([]), KeysError::NotASet),
        (json!({"keys": {}}), KeysError::NotASet),
        (json!({"keys": []}), KeysError::Empty),
        (
            json!({"keys": [{"kty": "oct", "use": "enc", "k": encode(SECRET)}]}),
            KeysError::Empty,
        ),
        (
            json!({"keys": [{"kty": "oct", "alg": "HS512", "k": encode(SECRET)}]}),
            KeysError::Empty,
        ),
        (
            json!({"keys": [{"kty": "oct", "k": short}]}),
            KeysError::Key(0),
        ),
        (
            json!({"keys": [{"kty": "RSA", "n": weak, "e": "AQAB"}]}),
            KeysError::Key(0),
        ),
        (
            json!({"keys": [{"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"}]}),
            KeysError::Key(0),
        ),
        (json!({"keys": [{}]}), KeysError::Key(0)),
        (
            json!({"keys": vec![json!({"kty": "x"}); KEYS_MAX + 1]}),
            KeysError::TooLarge,
        ),
    ];
    for (set, expected) in cases {
        assert_eq!(keys(&set.to_string()), Err(expected), "{set}");
    }
    assert_eq!(
        format!("{:?}", keys(&secret().to_string()).unwrap()),
        r#"[Key(HS256 Some("a"))]"#
    );
}
