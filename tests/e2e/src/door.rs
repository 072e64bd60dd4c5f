//! A client's way into Diwan: a channel to the gateway and the token of whoever signed in.

use std::{net::SocketAddr, time::Duration};

use diwan_proto::identity::v1::{SignInRequest, Tokens, User, session_service_client::SessionServiceClient};
use tonic::{
    Request, Status,
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Channel, Endpoint},
};

use crate::Failure;

/// What generated clients are made of here.
pub type Way = InterceptedService<Channel, Bearer>;

const LIMIT: Duration = Duration::from_secs(10);

/// Adds the token, if there is one.
#[derive(Clone, Debug, Default)]
pub struct Bearer(Option<MetadataValue<Ascii>>);

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(token) = &self.0 {
            request.metadata_mut().insert("authorization", token.clone());
        }
        Ok(request)
    }
}

/// A channel, and who one is on it.
#[derive(Clone, Debug)]
pub struct Door {
    channel: Channel,
    bearer: Bearer,
}

impl Door {
    /// Opens the door at `address` as nobody.
    ///
    /// # Errors
    /// When nobody answers there.
    pub async fn open(address: SocketAddr) -> Result<Self, Failure> {
        let channel = Endpoint::from_shared(format!("http://{address}"))?.connect_timeout(LIMIT).connect().await?;
        Ok(Self { channel, bearer: Bearer::default() })
    }

    /// The same door with `token`.
    ///
    /// # Errors
    /// When the token is no header value.
    pub fn with_token(&self, token: &str) -> Result<Self, Failure> {
        Ok(Self { channel: self.channel.clone(), bearer: Bearer(Some(format!("Bearer {token}").parse()?)) })
    }

    /// What a generated client's `new` takes.
    pub fn way(&self) -> Way {
        InterceptedService::new(self.channel.clone(), self.bearer.clone())
    }

    /// Signs in, and returns the door as that person.
    ///
    /// # Errors
    /// When sign-in is refused.
    pub async fn sign_in(&self, email: &str, password: &str) -> Result<Person, Failure> {
        let request =
            SignInRequest { email: email.to_owned(), password: password.to_owned(), ..SignInRequest::default() };
        let answer = SessionServiceClient::new(self.way()).sign_in(request).await?.into_inner();
        let (tokens, user) = (answer.tokens.unwrap_or_default(), answer.user.unwrap_or_default());
        Ok(Person { door: self.with_token(&tokens.access_token)?, tokens, user })
    }
}

/// Somebody who has signed in.
#[derive(Clone, Debug)]
pub struct Person {
    /// The door with his token.
    pub door: Door,
    /// His tokens.
    pub tokens: Tokens,
    /// He.
    pub user: User,
}

impl Person {
    /// What a generated client's `new` takes.
    pub fn way(&self) -> Way {
        self.door.way()
    }
}

/// A new id for one call.
pub fn request_id() -> String {
    diwan_runtime::ids::new_id().to_string()
}
