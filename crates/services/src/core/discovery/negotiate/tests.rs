use proptest::prelude::*;

use super::*;

proptest! {
    #[test]
    fn any_header_is_answered_or_refused(accept in "[a-z*/;,=.0-9 é]{0,80}", other in ".{0,80}") {
        for endpoint in [Endpoint::Objects, Endpoint::Watch, Endpoint::Discovery] {
            let _ = negotiate(&accept, endpoint);
            let _ = negotiate(&other, endpoint);
        }
    }
}

const JSON: Wanted = Wanted {
    form: Form::Object,
    encoding: Encoding::Json,
};
const YAML: Wanted = Wanted {
    form: Form::Object,
    encoding: Encoding::Yaml,
};
const PROTOBUF: Wanted = Wanted {
    form: Form::Object,
    encoding: Encoding::Protobuf,
};
const TABLE: Wanted = Wanted {
    form: Form::Table,
    encoding: Encoding::Json,
};
const PARTIAL: Wanted = Wanted {
    form: Form::Partial,
    encoding: Encoding::Json,
};

#[test]
fn the_first_form_that_is_served_wins() {
    let cases = [
        ("", JSON),
        (" ", JSON),
        ("*/*", JSON),
        ("*", JSON),
        ("application/*", JSON),
        ("application/yaml", YAML),
        ("APPLICATION/JSON", JSON),
        ("text/html, */*", JSON),
        ("application/json, */*", JSON),
        ("*/*, application/yaml", YAML),
        ("application/cbor, application/json", JSON),
        (
            "application/vnd.kubernetes.protobuf,application/json",
            PROTOBUF,
        ),
        (
            "application/vnd.kubernetes.protobuf;q=0.5,application/json",
            JSON,
        ),
        (
            "application/json;q=0.4, application/yaml;q=0.40001, */*;q=0.1",
            JSON,
        ),
        ("application/json;q=0.4, application/yaml;q=0.8", YAML),
        ("application/yaml;q=x, application/json;q=0.1", JSON),
        ("application/json;stream=watch", JSON),
        ("application/json;stream=other, application/yaml", YAML),
        // kubectl get
        (
            "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json",
            TABLE,
        ),
        (
            "application/json;as=Table;g=meta.k8s.io;v=v9, application/json",
            JSON,
        ),
        (
            "application/json;as=Chair;g=meta.k8s.io;v=v1, application/json",
            JSON,
        ),
        (
            "application/vnd.kubernetes.protobuf;as=Table;g=meta.k8s.io;v=v1, application/json",
            JSON,
        ),
        // The client of metadata.
        (
            "application/vnd.kubernetes.protobuf;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json",
            PARTIAL,
        ),
        (
            "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1",
            PARTIAL,
        ),
    ];
    for (accept, expected) in cases {
        assert_eq!(
            negotiate(accept, Endpoint::Objects),
            Ok(expected),
            "{accept}"
        );
    }
}

#[test]
fn what_nobody_can_serve_is_refused() {
    for accept in [
        "text/plain",
        "json",
        "application/cbor",
        "application/json;as=Chair",
        ",;,",
    ] {
        let refused = negotiate(accept, Endpoint::Objects).unwrap_err();
        assert_eq!(refused.reason, Reason::NotAcceptable, "{accept}");
    }
    let refused = negotiate("application/yaml", Endpoint::Watch).unwrap_err();
    assert_eq!(
        refused.message,
        "only the following media types are accepted: application/json;stream=watch, \
         application/vnd.kubernetes.protobuf;stream=watch"
    );
}

#[test]
fn discovery_is_aggregated_for_who_knows_it() {
    let of = |form| {
        Ok(Wanted {
            form: Form::Aggregated(form),
            encoding: Encoding::Json,
        })
    };
    let v2 = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
    let beta = "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList";
    let nopeer = format!("{v2};profile=nopeer,{v2},application/json");
    let cases = [
        (format!("{v2},{beta},application/json"), of(Aggregated::V2)),
        (format!("{beta},application/json"), of(Aggregated::V2beta1)),
        (format!("application/json,{v2};q=0.1"), of(Aggregated::V2)),
        (nopeer, of(Aggregated::V2)),
        ("application/json, */*".to_owned(), Ok(JSON)),
        (
            "application/vnd.kubernetes.protobuf, application/json;q=0.1".to_owned(),
            Ok(JSON),
        ),
    ];
    for (accept, expected) in cases {
        assert_eq!(
            negotiate(&accept, Endpoint::Discovery),
            expected,
            "{accept}"
        );
    }
    let wanted = negotiate(v2, Endpoint::Discovery).unwrap();
    assert_eq!(wanted.content_type(), v2);
    assert!(negotiate(v2, Endpoint::Objects).is_err());
}

#[test]
fn open_api_has_a_message_by_two_names() {
    for name in ["v2@v1.0+protobuf", "v2.v1.0+protobuf"] {
        let accept =
            format!("application/com.github.proto-openapi.spec.{name}, application/json;q=0.5");
        let wanted = negotiate(&accept, Endpoint::OpenApiV2).unwrap();
        assert_eq!(wanted.encoding, Encoding::OpenApiV2Protobuf);
    }
    let v3 = "application/com.github.proto-openapi.spec.v3@v1.0+protobuf";
    assert!(negotiate(v3, Endpoint::OpenApiV3).is_err());
    assert_eq!(negotiate("*/*", Endpoint::OpenApiV2), Ok(JSON));
}
