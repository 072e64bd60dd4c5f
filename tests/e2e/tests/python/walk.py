"""A client in another language: signs in at the gateway and reads a conversation, with what protoc makes of the protos.

    walk.py ADDRESS EMAIL PASSWORD

Prints what it found, one thing a line. Ends with a failure when an answer is not what the protos promise.
"""

import sys

import grpc

from diwan.access.v1 import page_pb2
from diwan.conversation.v1 import conversation_pb2, conversation_pb2_grpc, inbox_pb2, inbox_pb2_grpc
from diwan.gateway.v1 import bootstrap_pb2, bootstrap_pb2_grpc
from diwan.identity.v1 import session_pb2, session_pb2_grpc

LIMIT = 30  # seconds


def refused(call, code, reason):
    """Checks that a call is refused with this code, and with this reason in its details."""
    try:
        call()
    except grpc.RpcError as error:
        assert error.code() == code, error
        details = dict(error.trailing_metadata())["grpc-status-details-bin"]
        assert reason.encode() in details, details
        return error.details()
    raise AssertionError(f"not refused: {code}")


def sign_in(channel, email, password):
    sessions = session_pb2_grpc.SessionServiceStub(channel)
    wrong = session_pb2.SignInRequest(email=email, password=password + "?")
    refused(lambda: sessions.SignIn(wrong, timeout=LIMIT), grpc.StatusCode.UNAUTHENTICATED, "SIGN_IN_REFUSED")
    answer = sessions.SignIn(session_pb2.SignInRequest(email=email, password=password), timeout=LIMIT)
    print("signed in:", answer.user.name)
    return (("authorization", f"Bearer {answer.tokens.access_token}"), ("accept-language", "ar"))


def read(channel, metadata):
    asked = bootstrap_pb2_grpc.BootstrapServiceStub(channel)
    all_of_it = asked.GetBootstrap(bootstrap_pb2.GetBootstrapRequest(), timeout=LIMIT, metadata=metadata)
    assert not all_of_it.missing, all_of_it.missing
    print("pages:", " ".join(page_pb2.Page.Name(page) for page in all_of_it.pages))

    inbox = inbox_pb2_grpc.InboxServiceStub(channel)
    watched = inbox.WatchInbox(inbox_pb2.WatchInboxRequest(), timeout=LIMIT, metadata=metadata)
    print("present:", inbox_pb2.AvailabilityState.Name(next(watched).ready.state))
    watched.cancel()

    conversations = conversation_pb2_grpc.ConversationServiceStub(channel)
    listed = conversations.ListConversations(
        conversation_pb2.ListConversationsRequest(), timeout=LIMIT, metadata=metadata
    )
    for conversation in listed.conversations:
        messages = conversations.ListMessages(
            conversation_pb2.ListMessagesRequest(conversation_id=conversation.id), timeout=LIMIT, metadata=metadata
        )
        for message in messages.messages:
            print("message:", message.text)

    unknown = conversation_pb2.GetConversationRequest(conversation_id="00000000-0000-7000-8000-000000000000")
    call = lambda: conversations.GetConversation(unknown, timeout=LIMIT, metadata=metadata)
    refused(call, grpc.StatusCode.NOT_FOUND, "NOT_FOUND")
    nobody = lambda: conversations.GetConversation(unknown, timeout=LIMIT)
    refused(nobody, grpc.StatusCode.UNAUTHENTICATED, "UNAUTHENTICATED")


def main():
    address, email, password = sys.argv[1:]
    with grpc.insecure_channel(address) as channel:
        read(channel, sign_in(channel, email, password))


if __name__ == "__main__":
    main()
