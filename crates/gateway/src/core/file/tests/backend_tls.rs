use super::*;

#[test]
fn endpoints_have_to_be_who_the_backend_says() {
    let text = "[backends.a]\nservice = \"default/web:80\"\ntls = {}\n\
        [backends.b]\ntls = { ca = \"system\" }\n\
        [backends.c]\ntls = { accepts_any_certificate = true, server_name = \"10.0.0.1\" }";
    let file = parse(text).unwrap();
    let config = config(Some(&file), &Objects::default(), &doors()).config;
    let told = |name: &str| {
        let tls = config.clusters[name].tls.as_ref().unwrap();
        (tls.server_name.as_deref(), tls.trusted.clone())
    };
    assert_eq!(told("file/a"), (Some("web.default.svc"), Trusted::System));
    assert_eq!(told("file/b"), (None, Trusted::System));
    assert_eq!(told("file/c"), (Some("10.0.0.1"), Trusted::Anybody));
}
