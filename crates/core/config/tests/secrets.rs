//! Tokens are not shown.

mod support;

use support::Machine;
use weir_config::hide_secrets;

#[test]
fn tokens_are_hidden_in_what_is_shown() {
    let text = r#"
        events { }
        registry { token write=sesame-1 read=sesame-2; }
        admin { token write=sesame-3 read_file=keys/token; }
        http {
            upstream a { upsync 10.0.0.1/v1/kv/a/ upsync_type=consul token=sesame-4; }
            upstream b { source etcd 10.0.0.1 prefix=/b/ token=user:sesame-5; }
            upstream c { source consul 10.0.0.1 service=c token_file=keys/token; source folder /etc/c; }
        }
    "#;
    let mut config = Machine::with(text).load().expect("it is right").config;
    let shown = |config: &weir_model::Config| serde_json::to_string(config).expect("the model is plain data");
    let all = shown(&config);
    assert_eq!((all.matches("sesame").count(), all.matches("from-a-file").count()), (5, 2));
    let debug = format!("{config:?}");
    assert!(!debug.contains("sesame") && !debug.contains("from-a-file"), "{debug}");
    hide_secrets(&mut config);
    let hidden = shown(&config);
    assert!(!hidden.contains("sesame") && !hidden.contains("from-a-file"), "{hidden}");
    assert_eq!(hidden.matches("(hidden)").count(), 7);
}

#[test]
fn messages_for_logs_have_no_token() {
    let body = |line: &str| format!("upstream a {{ {line} }}");
    let upsync = "upsync 10.0.0.1/v1/kv/a/ upsync_type=consul";
    for line in [
        format!("{upsync} tokn=sesame;"),
        format!("{upsync} token=sesame token=sesame;"),
        format!("{upsync} \"token=sesame now\";"),
        format!("{upsync} token='sesame';"),
        "upsync 10.0.0.1/v1/kv/a/?token=sesame upsync_type=consul;".to_owned(),
        "upsync /etc/a upsync_type=folder token=sesame;".to_owned(),
        "source consul 10.0.0.1 service=a tokens=sesame;".to_owned(),
        "source dns app.test token=sesame;".to_owned(),
        "source etcd user:sesame@10.0.0.1 prefix=token;".to_owned(),
        "upsync https://user:sesame@10.0.0.1/v1/kv/a/ upsync_type=consul;".to_owned(),
    ] {
        let said = support::error(&body(&line));
        assert!(said.contains("token") || said.contains("tokn"), "{said}");
        assert!(!said.contains("sesame"), "{said}");
    }
    let registry = Machine::with("events { }\nregistry { token sesame; }").load().expect_err("no key");
    assert_eq!(registry.to_string(), r#"invalid parameter in "token" directive in /w/nginx.conf:2"#);
}
