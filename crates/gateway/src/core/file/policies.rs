//! Policies of a file: what is asked of requests.

use std::sync::Arc;

use super::{
    FileError, Read,
    backends::check_rate,
    fields::{self, one_of, ranges},
    inner, written,
};
use crate::core::{
    basic::Users,
    config::{Auth, RateKey, RoutePolicy, RouteRate},
    jwt::{self, Jwt},
    services::{rate_key, realm},
};

/// How far clocks may be apart, where nothing is said.
const LEEWAY_S: u64 = 30;

/// A policy as it is written.
pub(super) fn policy(
    name: &str,
    written: &written::Policy,
    read: &Read<'_>,
) -> Result<Arc<RoutePolicy>, FileError> {
    let table = format!("policies.{name}");
    if written.https_port == Some(0) {
        let problem = "it is a port, 1 to 65535";
        return Err(FileError::field(format!("{table}.https_port"), problem));
    }
    let rate = written.rate.as_ref();
    let rate = rate.map(|rate| self::rate(name, &format!("{table}.rate"), rate));
    Ok(Arc::new(RoutePolicy {
        is_broken: false,
        https_port: written.https_port,
        sources: fields::sources(&table, &written.allow, &written.deny)?,
        rate: rate.transpose()?,
        auth: auth(&table, written, read)?,
        body_bytes_max: written.body_bytes_max,
    }))
}

fn rate(policy: &str, table: &str, written: &written::PolicyRate) -> Result<RouteRate, FileError> {
    let rate = written.rate();
    check_rate(table, rate)?;
    let by = match written.by.as_deref() {
        None => RateKey::Source,
        Some(text) => {
            rate_key(text).map_err(|problem| FileError::field(format!("{table}.by"), problem))?
        }
    };
    let scope = written.scope.as_deref().unwrap_or("node");
    let scopes = [("node", false), ("cluster", true)];
    Ok(RouteRate {
        name: inner(policy),
        rate,
        by,
        is_shared: one_of(format!("{table}.scope"), scope, &scopes)?,
    })
}

fn auth(
    table: &str,
    written: &written::Policy,
    read: &Read<'_>,
) -> Result<Option<Auth>, FileError> {
    match (&written.basic, &written.jwt) {
        (None, None) => Ok(None),
        (Some(_), Some(_)) => {
            let problem = "basic and jwt can't both be asked for; leave out one of them";
            Err(FileError::field(table, problem))
        }
        (Some(basic), None) => {
            let field = format!("{table}.basic.users");
            let text = fields::text(&field, &basic.users, read)?;
            let users = Users::parse(&text)
                .map_err(|error| FileError::field(field, format!("{}: {error}", basic.users)))?;
            let realm = realm(basic.realm.as_deref().unwrap_or("atoll"));
            let told = |problem| FileError::field(format!("{table}.basic.realm"), problem);
            Ok(Some(Auth::Basic {
                realm: realm.map_err(told)?,
                users: Arc::new(users),
            }))
        }
        (None, Some(written)) => {
            let field = format!("{table}.jwt.jwks");
            let text = fields::text(&field, &written.jwks, read)?;
            let keys = jwt::keys(&text)
                .map_err(|error| FileError::field(field, format!("{}: {error}", written.jwks)))?;
            let leeway_s = written.leeway_s.unwrap_or(LEEWAY_S);
            ranges(&format!("{table}.jwt"), &[("leeway_s", leeway_s, 0, 3_600)])?;
            Ok(Some(Auth::Jwt(Arc::new(Jwt {
                keys,
                issuer: written.issuer.clone(),
                audiences: written.audiences.clone(),
                leeway_s,
            }))))
        }
    }
}
