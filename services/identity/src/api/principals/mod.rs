//! Service principals: made and managed by the owner and admins of an account, and by operators for the installation.

mod acting;
mod change;
mod credentials;
mod decode;
mod encode;
mod token;

use diwan_access::{Admission, Caller, Operator, caller};
use diwan_fault::{Code, Fault, Fields};
use diwan_proto::identity::v1::{
    AddPrincipalCredentialRequest, AddPrincipalCredentialResponse, CreateServicePrincipalRequest,
    CreateServicePrincipalResponse, DisableServicePrincipalRequest, DisableServicePrincipalResponse,
    EnableServicePrincipalRequest, EnableServicePrincipalResponse, ExpirePrincipalCredentialRequest,
    ExpirePrincipalCredentialResponse, GetServicePrincipalRequest, GetServicePrincipalResponse,
    ListServicePrincipalsRequest, ListServicePrincipalsResponse, RemovePrincipalCredentialRequest,
    RemovePrincipalCredentialResponse, SetActingForRequest, SetActingForResponse, UpdateServicePrincipalRequest,
    UpdateServicePrincipalResponse, service_principal_service_server::ServicePrincipalService,
};
use diwan_store::answers::Request as Once;
use prost::Name;
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::{Api, fields, operator};
use crate::{client::Client, domain::INSTALLATION, error::Error, passwords::Password};
#[cfg(test)]
pub use decode::REASONS;

/// Answers for service principals.
#[derive(Clone)]
pub struct PrincipalApi {
    /// What it shares with the others.
    pub api: Api,
    /// Knows every method, and so every scope.
    pub admission: Admission,
}

/// Who manages principals.
struct Manager {
    /// The account of the principals that he manages, or [`INSTALLATION`].
    home: Uuid,
    /// The user; `None` for an operator.
    user: Option<Uuid>,
    /// The operator; `None` for a user.
    operator: Option<Operator>,
    /// From where he calls.
    client: Client,
}

impl Manager {
    fn of<T>(request: &Request<T>) -> Result<Self, Fault> {
        let client = Client::of(request);
        match caller(request) {
            Caller::User(user) => Ok(Self { home: user.account_id, user: Some(user.user_id), operator: None, client }),
            Caller::Operator(operator) => Ok(Self { home: INSTALLATION, user: None, operator: Some(operator), client }),
            Caller::Nobody | Caller::Principal(_) | Caller::Service(_) => {
                Err(Fault::new(Code::Unauthenticated, "UNAUTHENTICATED"))
            }
        }
    }

    /// A user has to give his password.
    fn gives(&self, fields: &mut Fields, password: &Password) {
        if self.user.is_some() {
            fields::required(fields, "password", password);
        }
    }

    fn once(&self, id: &str, method: &'static str, message: &impl Name) -> Once {
        if let Some(operator) = &self.operator {
            return operator::once(operator, id, method, message);
        }
        let once = Once::new(self.home, id, method, message);
        match self.user {
            Some(user) => once.by(user),
            None => once,
        }
    }
}

impl PrincipalApi {
    /// What lets a principal in outlives every session: whoever has stolen one has not the password. An operator has nothing but his token.
    async fn require_password(&self, manager: &Manager, password: Password) -> Result<(), Error> {
        if let Some(user) = manager.user {
            let user = self.api.find(manager.home, user).await?;
            self.api.require_password(&user, &manager.client, password).await?;
        }
        Ok(())
    }
}

#[tonic::async_trait]
impl ServicePrincipalService for PrincipalApi {
    async fn create_service_principal(
        &self,
        request: Request<CreateServicePrincipalRequest>,
    ) -> Result<Response<CreateServicePrincipalResponse>, Status> {
        let manager = Manager::of(&request)?;
        Ok(Response::new(self.create(&manager, &request.into_inner()).await?))
    }

    async fn get_service_principal(
        &self,
        request: Request<GetServicePrincipalRequest>,
    ) -> Result<Response<GetServicePrincipalResponse>, Status> {
        let manager = Manager::of(&request)?;
        Ok(Response::new(self.get(&manager, &request.into_inner()).await?))
    }

    async fn list_service_principals(
        &self,
        request: Request<ListServicePrincipalsRequest>,
    ) -> Result<Response<ListServicePrincipalsResponse>, Status> {
        let manager = Manager::of(&request)?;
        Ok(Response::new(self.list(&manager, &request.into_inner()).await?))
    }

    async fn update_service_principal(
        &self,
        request: Request<UpdateServicePrincipalRequest>,
    ) -> Result<Response<UpdateServicePrincipalResponse>, Status> {
        let manager = Manager::of(&request)?;
        Ok(Response::new(self.update(&manager, &request.into_inner()).await?))
    }

    async fn disable_service_principal(
        &self,
        request: Request<DisableServicePrincipalRequest>,
    ) -> Result<Response<DisableServicePrincipalResponse>, Status> {
        let manager = Manager::of(&request)?;
        Ok(Response::new(self.disable(&manager, &request.into_inner()).await?))
    }

    async fn enable_service_principal(
        &self,
        request: Request<EnableServicePrincipalRequest>,
    ) -> Result<Response<EnableServicePrincipalResponse>, Status> {
        let manager = Manager::of(&request)?;
        Ok(Response::new(self.enable(&manager, &request.into_inner()).await?))
    }

    async fn add_principal_credential(
        &self,
        request: Request<AddPrincipalCredentialRequest>,
    ) -> Result<Response<AddPrincipalCredentialResponse>, Status> {
        let manager = Manager::of(&request)?;
        Ok(Response::new(self.add_credential(&manager, request.into_inner()).await?))
    }

    async fn expire_principal_credential(
        &self,
        request: Request<ExpirePrincipalCredentialRequest>,
    ) -> Result<Response<ExpirePrincipalCredentialResponse>, Status> {
        let manager = Manager::of(&request)?;
        Ok(Response::new(self.expire_credential(&manager, &request.into_inner()).await?))
    }

    async fn remove_principal_credential(
        &self,
        request: Request<RemovePrincipalCredentialRequest>,
    ) -> Result<Response<RemovePrincipalCredentialResponse>, Status> {
        let manager = Manager::of(&request)?;
        Ok(Response::new(self.remove_credential(&manager, &request.into_inner()).await?))
    }

    async fn set_acting_for(
        &self,
        request: Request<SetActingForRequest>,
    ) -> Result<Response<SetActingForResponse>, Status> {
        let manager = Manager::of(&request)?;
        Ok(Response::new(self.act_for(&manager, request.into_inner()).await?))
    }
}
