//! Internal notes: colleagues see them, customers never.

use diwan_fault::reason_of;
use diwan_proto::conversation::v1::{
    AddNoteRequest, HandOverConversationRequest, Note, TransitionCause, note_service_client::NoteServiceClient,
    watch_inbox_response::Event as Shown,
};
use diwan_testkit::Person;
use tonic::{Code, Status};
use uuid::Uuid;

use crate::{bot_calls::new, support::Office};

impl Office {
    async fn note(&self, person: &Person, request_id: &str, id: Uuid, text: &str) -> Result<Note, Status> {
        let (request_id, conversation_id, text) = (request_id.to_owned(), id.to_string(), text.to_owned());
        let request = AddNoteRequest { request_id, conversation_id, text };
        let mut client = NoteServiceClient::new(self.world.to("conversation"));
        Ok(client.add_note(self.world.request(person, request)).await?.into_inner().note.unwrap())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_sees_a_conversation_notes_and_reads_and_nothing_is_sent() {
    let office = Office::open(1).await;
    let (agent, stranger) = (office.agent().await, office.agent_of(office.second_team(1).await).await);
    let id = office.arrive().await;
    let mut inbox = office.watch(&office.owner).await;
    let note = office.note(&agent, "note-1", id, "  He called twice.  ").await.unwrap();
    assert_eq!((note.text.as_str(), note.author_id.clone()), ("He called twice.", agent.user.to_string()));
    assert_eq!(office.note(&agent, "note-1", id, "  He called twice.  ").await.unwrap(), note, "a retry adds nothing");
    loop {
        // It may still hear of what came before it.
        if let Shown::Changed(changed) = inbox.next().await
            && changed.cause() == TransitionCause::Note
        {
            assert_eq!(changed.conversation.unwrap().id, id.to_string());
            break;
        }
    }
    for refused in
        [office.note(&stranger, &new(), id, "?").await.map(|_| ()), office.notes(&stranger, id).await.map(|_| ())]
    {
        assert_eq!(reason_of(&refused.unwrap_err()).as_deref(), Some("CONVERSATION_NOT_FOUND"));
    }
    assert_eq!(office.note(&agent, &new(), id, " ").await.unwrap_err().code(), Code::InvalidArgument);
    office.close(&office.owner, id).await.unwrap();
    office.note(&office.owner, "note-2", id, "Paid.").await.unwrap();
    let texts: Vec<_> = office.notes(&office.owner, id).await.unwrap().into_iter().map(|note| note.text).collect();
    assert_eq!(texts, ["He called twice.", "Paid."]);
    assert_eq!(office.messages(&office.owner, id).await.len(), 1, "only what the customer wrote");
    assert_eq!(office.count("select count(*) from sends").await, 0);
    assert_eq!(office.mailbox.sent().len(), 0);
    office.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hand_over_brings_its_note_or_neither() {
    let office = Office::open(1).await;
    let (agent, colleague) = (office.agent().await, office.agent().await);
    let id = office.arrive().await;
    let request = |by: &Person| {
        let request = HandOverConversationRequest {
            request_id: new(),
            conversation_id: id.to_string(),
            user_id: colleague.user.to_string(),
            note: "He has paid already.".into(),
            ..Default::default()
        };
        office.world.request(by, request)
    };
    let refused = office.handling().hand_over_conversation(request(&agent)).await.unwrap_err();
    assert_eq!(reason_of(&refused).as_deref(), Some("NOT_HOLDER"));
    assert_eq!(office.notes(&office.owner, id).await.unwrap(), []);
    office.take(&agent, id).await.unwrap();
    office.handling().hand_over_conversation(request(&agent)).await.unwrap();
    office.held_by(&colleague, id).await;
    let notes = office.notes(&colleague, id).await.unwrap();
    assert_eq!((notes.len(), notes[0].author_id.clone()), (1, agent.user.to_string()));
    office.audit().await;
}
