//! Service principals: made and managed by the owner and admins of an account, and by operators for the installation.

mod acting;
mod change;
mod credentials;
mod decode;
mod encode;
mod token;

use std::sync::Arc;

use diwan_access::{Admission, Caller, Operator, caller};
use diwan_fault::{Code, Fault};
use diwan_proto::identity::v1::{
    AddPrincipalCredentialRequest, AddPrincipalCredentialResponse, CreateServicePrincipalRequest,
    CreateServicePrincipalResponse, DisableServicePrincipalRequest, DisableServicePrincipalResponse,
    EnableServicePrincipalRequest, EnableServicePrincipalResponse, ExpirePrincipalCredentialRequest,
    ExpirePrincipalCredentialResponse, GetServicePrincipalRequest, GetServicePrincipalResponse,
    ListServicePrincipalsRequest, ListServicePrincipalsResponse, RemovePrincipalCredentialRequest,
    RemovePrincipalCredentialResponse, SetActingForRequest, SetActingForResponse, UpdateServicePrincipalRequest,
    UpdateServicePrincipalResponse, service_principal_service_server::ServicePrincipalService,
};
use diwan_runtime::Clock;
use diwan_store::{Database, answers::Request as Once};
use prost::Name;
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::operator;
use crate::{domain::INSTALLATION, signing::AccessSigner, throttle::Limits};
#[cfg(test)]
pub use decode::REASONS;

/// Answers for service principals.
#[derive(Clone)]
pub struct PrincipalApi {
    /// The database.
    pub database: Database,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// How many failures are too many.
    pub limits: Limits,
    /// Signs access tokens.
    pub access: AccessSigner,
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
}

impl Manager {
    fn of<T>(request: &Request<T>) -> Result<Self, Fault> {
        match caller(request) {
            Caller::User(user) => Ok(Self { home: user.account_id, user: Some(user.user_id), operator: None }),
            Caller::Operator(operator) => Ok(Self { home: INSTALLATION, user: None, operator: Some(operator) }),
            Caller::Nobody | Caller::Principal(_) | Caller::Service(_) => {
                Err(Fault::new(Code::Unauthenticated, "UNAUTHENTICATED"))
            }
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
        Ok(Response::new(self.add_credential(&manager, &request.into_inner()).await?))
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
        Ok(Response::new(self.act_for(&manager, &request.into_inner()).await?))
    }
}
