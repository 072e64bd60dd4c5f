//! The mailbox service, with what it was asked to send.

use std::sync::{Arc, Mutex};

use diwan_proto::mailbox::v1::{
    SendMailRequest, SendMailResponse,
    send_service_server::{SendService, SendServiceServer},
};
use diwan_transport::Methods;
use tonic::{Request, Response, Status};

/// What the mailbox service was asked to send, and what it answers.
#[derive(Clone, Default)]
pub struct FakeMailbox {
    sent: Arc<Mutex<Vec<SendMailRequest>>>,
    refusals: Arc<Mutex<Vec<Status>>>,
}

impl FakeMailbox {
    pub async fn methods(&self) -> Methods {
        Methods::new("mailbox").with(SendServiceServer::new(self.clone())).await
    }

    pub fn sent(&self) -> Vec<SendMailRequest> {
        self.sent.lock().unwrap().clone()
    }

    /// The next call is refused like this.
    pub fn refuse(&self, status: Status) {
        self.refusals.lock().unwrap().push(status);
    }
}

#[tonic::async_trait]
impl SendService for FakeMailbox {
    async fn send_mail(&self, request: Request<SendMailRequest>) -> Result<Response<SendMailResponse>, Status> {
        if let Some(status) = self.refusals.lock().unwrap().pop() {
            return Err(status);
        }
        self.sent.lock().unwrap().push(request.into_inner());
        Ok(Response::new(SendMailResponse {}))
    }
}
