//! NoteService.

use diwan_access::{user, viewer};
use diwan_fault::Fields;
use diwan_proto::conversation::v1::{
    AddNoteRequest, AddNoteResponse, ListNotesRequest, ListNotesResponse, note_service_server::NoteService,
};
use diwan_store::{Page, answers};
use jiff::Timestamp;
use sqlx::PgConnection;
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::Api;
use crate::{
    Error, flow,
    store::{conversations, notes},
};

/// The longest note, in characters.
pub const LONGEST_NOTE: usize = 10_000;

#[tonic::async_trait]
impl NoteService for Api {
    async fn add_note(&self, request: Request<AddNoteRequest>) -> Result<Response<AddNoteResponse>, Status> {
        let caller = user(&request)?;
        let message = request.into_inner();
        let mut fields = Fields::new();
        let request_id = fields.request_id(&message.request_id);
        let id = fields.uuid("conversation_id", &message.conversation_id);
        let text = fields.text("text", &message.text, 1..=LONGEST_NOTE);
        fields.finish()?;
        let scope = self.scope(&caller).await?;
        let once = answers::Request::new(caller.account_id, &request_id, "AddNote", &message).by(caller.user_id);
        let now = self.0.clock.now();
        let add = async |tx: &mut PgConnection| {
            let note = flow::notes::add(tx, (&caller, &scope), id, &text, now).await?;
            Ok::<_, Error>(AddNoteResponse { note: Some(note.to_proto()) })
        };
        Ok(Response::new(self.0.database.answer_once(&once, now, add).await?))
    }

    async fn list_notes(&self, request: Request<ListNotesRequest>) -> Result<Response<ListNotesResponse>, Status> {
        let caller = viewer(&request)?;
        let message = request.into_inner();
        let mut fields = Fields::new();
        let id = fields.uuid("conversation_id", &message.conversation_id);
        let page = Page::<(Timestamp, Uuid)>::read(&mut fields, &("ListNotes", id), message.page.as_ref());
        fields.finish()?;
        let scope = self.scope(&caller).await?;
        conversations::visible(&mut *self.connection().await?, caller.account_id, id, &scope).await?;
        let pool = self.0.database.pool();
        let (rows, fit) = notes::list(pool, caller.account_id, id, page.after().copied(), page.limit()).await?;
        let (rows, info) = page.at_most(fit).finish(rows, |row| (row.created_at.to_jiff(), row.id));
        let notes = rows.iter().map(notes::Note::to_proto).collect();
        Ok(Response::new(ListNotesResponse { notes, page: Some(info) }))
    }
}
