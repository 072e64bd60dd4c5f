//! Bad fields: each is named.

use std::collections::BTreeSet;

use super::*;

/// Fields in which any value is good, or bad ones are not told apart on purpose: method, field (`*` for all below), reason.
const UNCHECKED: &[(&str, &str, &str)] = &[
    ("UpdateDepartment", "department.*", "only what the mask names is looked at"),
    ("CloseAccount", "password", "it is right or not"),
    ("StartExport", "password", "it is right or not"),
    ("DownloadExport", "password", "it is right or not"),
    ("AddPrincipalCredential", "password", "it is right or not"),
    ("SetActingFor", "password", "it is right or not"),
    ("OfferOwnership", "password", "it is right or not"),
    ("ResetUserSecondFactors", "password", "it is right or not"),
    ("SetSecondFactorPolicy", "password", "it is right or not"),
    ("RefuseFactorRecovery", "password", "a proof is good or not"),
    ("RefuseFactorRecovery", "code", "a proof is good or not"),
    ("SendEnrolmentCode", "challenge_token", "a challenge is known or not"),
    ("UpdateProfile", "profile.*", "only what the mask names is looked at"),
    ("GetPicture", "known_etag", "a client may have any"),
    ("SetWhatsAppNumber", "current_password", "it is right or not"),
    ("RemoveWhatsAppNumber", "current_password", "it is right or not"),
    ("ConfirmWhatsAppNumber", "code", "it is right or not"),
    ("ExchangeCredential", "credential", "the same answer whatever is wrong"),
    ("UpdateServicePrincipal", "name", "only what the mask names is looked at"),
    ("UpdateServicePrincipal", "scopes", "only what the mask names is looked at"),
    ("UpdateServicePrincipal", "account_ids", "only what the mask names is looked at"),
    ("SignIn", "password", "the same answer whatever is wrong"),
    ("SignIn", "device_token", "a device is trusted or not"),
    ("BeginTotp", "*", "a proof is good or not"),
    ("ConfirmTotp", "code", "it is right or not"),
    ("DisableTotp", "password", "a proof is good or not"),
    ("DisableTotp", "code", "a proof is good or not"),
    ("EnableWhatsApp", "*", "a proof is good or not"),
    ("DisableWhatsApp", "password", "a proof is good or not"),
    ("DisableWhatsApp", "code", "a proof is good or not"),
    ("RegenerateRecoveryCodes", "*", "a proof is good or not"),
    ("SendChallengeCode", "*", "a challenge is known or not"),
    ("AnswerChallenge", "challenge_token", "a challenge is known or not"),
    ("AnswerChallenge", "code", "it is right or not"),
    ("BeginEnrolment", "*", "a challenge is known or not"),
    ("CompleteEnrolment", "*", "a challenge is known or not"),
    ("ChangePassword", "current_password", "it is right or not"),
    ("ChangePassword", "new_password_confirmation", "it is the new password or not"),
    ("ResetPassword", "token", "a token is known or not"),
    ("RefreshSession", "refresh_token", "a token is good or refused"),
    ("AcceptInvitation", "token", "a token is known or not"),
    ("ConfirmEmail", "token", "a token is known or not"),
    ("UpdateAccount", "account.*", "only what the mask names is looked at"),
    ("ConnectMailbox", "imap.password", "a mail server's password may be anything"),
    ("ConnectMailbox", "smtp.password", "a mail server's password may be anything"),
    ("UpdateTeam", "team.*", "only what the mask names is looked at"),
    ("IngestMessage", "from_email", "a customer's mail is taken as it is"),
    ("IngestMessage", "from_name", "a customer's mail is taken as it is"),
    ("IngestMessage", "subject", "a customer's mail is taken as it is"),
    ("IngestMessage", "text", "a customer's mail is taken as it is"),
    ("IngestMessage", "rfc_message_id", "a customer's mail is taken as it is"),
    ("IngestMessage", "references", "a customer's mail is taken as it is"),
    ("SendMail", "in_reply_to", "ids of received mails may be anything; what is no id is left out of the header"),
    ("SendMail", "references", "ids of received mails may be anything; what is no id is left out of the header"),
    ("ReportDelivery", "error", "a mail server's words"),
];

fn unchecked(method: &str, field: &str) -> bool {
    UNCHECKED.iter().any(|(name, path, _)| {
        *name == method && path.strip_suffix('*').map_or(field == *path, |prefix| field.starts_with(prefix))
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn every_bad_field_of_every_method_is_named() {
    let world = World::new().await;
    let mut problems = Vec::new();
    for method in methods() {
        let mut filled = BTreeSet::new();
        let request = message(&method.input(), "", &mut |path, field| {
            let value = bad(field)?;
            filled.insert(path.to_owned());
            Some(value)
        });
        filled.retain(|field| !unchecked(method.name(), field));
        if filled.is_empty() {
            continue;
        }
        match world.call(&method, request).await {
            Err(status) if status.code() == Code::InvalidArgument => {
                let named =
                    status.get_details_bad_request().map(|details| details.field_violations).unwrap_or_default();
                let unnamed = filled.iter().filter(|field| !named.iter().any(|v| names(&v.field, field)));
                let unnamed: Vec<_> = unnamed.collect();
                if !unnamed.is_empty() {
                    problems.push(format!("{}: not named: {unnamed:?}", method.full_name()));
                }
            }
            other => problems.push(format!(
                "{}: {:?}",
                method.full_name(),
                other.map_err(|s| (s.code(), s.message().to_owned()))
            )),
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

/// Whether a violation of `violated` is about `field`: a list's entries are named `field[0]`, a whole message names its parts.
fn names(violated: &str, field: &str) -> bool {
    violated == field || violated.starts_with(&format!("{field}[")) || field.starts_with(&format!("{violated}."))
}
