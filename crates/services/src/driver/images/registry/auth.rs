//! Who is asking: a name and a password for the registry itself, or a token from the service that
//! the registry names.

use form_urlencoded::Serializer;
use hyper::header::{HeaderValue, WWW_AUTHENTICATE};

use super::{
    RegistryError, Session,
    http::{Answer, Ask},
    url::Url,
};
use crate::core::image::{
    Login,
    challenge::{self, Challenge, TOKEN_ANSWER_BYTES_MAX},
};

/// What this program calls itself at token services.
const CLIENT: &str = "atoll";

impl Session<'_> {
    /// What the registry wants to see.
    pub(super) async fn authorize(&self, answer: &Answer) -> Result<HeaderValue, RegistryError> {
        let fields = answer.head.headers.get_all(WWW_AUTHENTICATE).iter();
        let fields = fields.filter_map(|field| field.to_str().ok());
        let challenges: Vec<_> = fields.filter_map(Challenge::read).collect();
        let is_bearer = |it: &&Challenge| matches!(it, Challenge::Bearer { .. });
        let challenge = challenges.iter().find(is_bearer).or(challenges.first());
        let value = match challenge {
            None => return Err(self.denied("it does not say how to ask".to_owned())),
            Some(Challenge::Basic) => self.basic()?,
            Some(Challenge::Bearer {
                realm,
                service,
                scope,
            }) => format!("Bearer {}", self.token(realm, service, scope).await?),
        };
        self.secret(&value)
    }

    fn basic(&self) -> Result<String, RegistryError> {
        let value = self.login.and_then(Login::basic);
        value.ok_or_else(|| self.denied("no basic auth credentials".to_owned()))
    }

    fn secret(&self, value: &str) -> Result<HeaderValue, RegistryError> {
        let value = HeaderValue::from_str(value);
        let mut value = value.map_err(|_| self.denied("the login can't be sent".to_owned()))?;
        value.set_sensitive(true);
        Ok(value)
    }

    async fn token(
        &self,
        realm: &str,
        service: &str,
        scope: &str,
    ) -> Result<String, RegistryError> {
        let realm = Url::read(realm)?;
        self.origin.may_lead_to(&realm)?;
        let own_scope = format!("repository:{}:pull", self.name.repository());
        let scope = match scope {
            "" => own_scope.as_str(),
            scope => scope,
        };
        let asked = [("service", service), ("scope", scope)];
        let mut answer = match self.login {
            Some(Login::Identity { token }) => {
                let shown = [
                    ("grant_type", "refresh_token"),
                    ("client_id", CLIENT),
                    ("refresh_token", token.as_str()),
                ];
                let form = form(asked.into_iter().chain(shown));
                self.client.post(&realm, form).await?
            }
            login => {
                let basic = login.and_then(Login::basic);
                let authorization = basic.map(|value| self.secret(&value)).transpose()?;
                let ask = Ask {
                    accept: None,
                    authorization,
                };
                let url = realm.with_query(&form(asked));
                self.client.get(&url, ask).await?
            }
        };
        let status = answer.head.status;
        if status.is_server_error() {
            let url = realm.to_string();
            return Err(RegistryError::Status { url, status });
        }
        let refused = || self.denied(format!("{realm} gives no token: {status}"));
        if !status.is_success() {
            return Err(refused());
        }
        let body = answer.whole(TOKEN_ANSWER_BYTES_MAX).await?;
        challenge::token(&body).ok_or_else(refused)
    }
}

/// Parameters as a form or a query has them, without those that say nothing.
fn form<'a>(parameters: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let said = parameters
        .into_iter()
        .filter(|(_, value)| !value.is_empty());
    Serializer::new(String::new()).extend_pairs(said).finish()
}
