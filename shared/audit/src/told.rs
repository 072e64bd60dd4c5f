//! Methods that strangers and services call: no account is accountable for them, so each says where its change is told.

use diwan_access::Rules;
use diwan_proto::access::v1::Caller;

use crate::shown::CHANGING;

const NOTHING: &str = "changes nothing in the account";

/// By name: the event or the record that tells, or why there is none.
const TOLD: [(&str, &str); 23] = [
    ("diwan.billing.v1.SeatService/ReleaseSeat", "record of the seat"),
    ("diwan.billing.v1.SeatService/TakeSeat", "record of the seat"),
    ("diwan.billing.v1.SubscriptionService/StartTrial", "record of the subscription"),
    ("diwan.conversation.v1.IngestService/IngestMessage", "ConversationChanged"),
    ("diwan.conversation.v1.IngestService/ReportDelivery", "ConversationChanged"),
    ("diwan.identity.v1.AccountService/ConfirmEmail", "AccountChanged"),
    ("diwan.identity.v1.AccountService/SignUp", "AccountChanged, UserChanged"),
    ("diwan.identity.v1.AlertService/AlertMailboxNeedsCredentials", NOTHING),
    ("diwan.identity.v1.AlertService/AlertPaymentFailed", NOTHING),
    ("diwan.identity.v1.ChallengeService/AnswerChallenge", "SIGNED_IN"),
    ("diwan.identity.v1.ChallengeService/BeginEnrolment", NOTHING),
    ("diwan.identity.v1.ChallengeService/CompleteEnrolment", "SecondFactorsChanged, SIGNED_IN"),
    ("diwan.identity.v1.ChallengeService/SendChallengeCode", NOTHING),
    ("diwan.identity.v1.ChallengeService/SendEnrolmentCode", NOTHING),
    ("diwan.identity.v1.CredentialService/RequestPasswordReset", NOTHING),
    ("diwan.identity.v1.CredentialService/ResetPassword", "PASSWORD_RESET"),
    ("diwan.identity.v1.PrincipalTokenService/ExchangeCredential", NOTHING),
    (
        "diwan.identity.v1.SessionService/RefreshSession",
        "REFRESH_TOKEN_REUSED; the rotation of a session's tokens changes nothing",
    ),
    ("diwan.identity.v1.SessionService/SignIn", "SIGNED_IN"),
    ("diwan.identity.v1.UserService/AcceptInvitation", "UserChanged"),
    ("diwan.mailbox.v1.SendService/SendMail", "record of the message"),
    ("diwan.team.v1.MembershipService/JoinTeams", "MembershipChanged"),
    ("diwan.team.v1.TeamService/CreateFallbackTeam", "TeamChanged"),
];

#[test]
fn of_every_method_that_nobody_is_accountable_for_it_is_written_down_where_it_is_told() {
    let rules = Rules::load().unwrap();
    let by_others = |path: &&String| {
        let rule = rules.of(&format!("/{path}")).unwrap();
        rule.callers().any(|caller| matches!(caller, Caller::Public | Caller::Service))
    };
    let mut changing: Vec<_> = CHANGING.iter().filter(by_others).map(String::as_str).collect();
    changing.sort_unstable();
    let told: Vec<_> = TOLD.iter().map(|(path, _)| *path).collect();
    assert_eq!(changing, told, "a method that strangers or services call has to tell the audit log what it changes");
}
