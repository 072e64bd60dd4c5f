//! Which mails nobody wrote, or nobody wrote to us: they are never answered automatically (RFC 3834, section 2), or two machines would
//! write to each other for ever.

use mail_parser::Message;

/// Who sends without reading: the part of the address before the @, without what separates its words.
const NOBODY: [&str; 9] =
    ["mailerdaemon", "postmaster", "noreply", "donotreply", "dontreply", "noresponse", "bounce", "bounces", "listserv"];

/// Whether a machine or a mailing list sent it: by what it says of itself, by an empty envelope sender (RFC 5321, section 4.5.5), or by
/// a sender who reads nothing.
pub(super) fn is_automatic(message: &Message<'_>, from: &str) -> bool {
    message.headers_raw().any(|(name, value)| says_so(name, value.trim())) || is_nobody(from)
}

fn says_so(name: &str, value: &str) -> bool {
    let value = value.to_ascii_lowercase();
    match name.to_ascii_lowercase().as_str() {
        // RFC 3834, section 5; a comment or a parameter may follow the keyword.
        "auto-submitted" => !matches!(value.split([';', ' ', '\t', '(']).next(), Some("no" | "")),
        "precedence" => matches!(value.as_str(), "bulk" | "list" | "junk" | "auto_reply"),
        // RFC 2369 and RFC 2919.
        "list-id" | "list-help" | "list-post" | "list-unsubscribe" | "list-subscribe" | "list-owner"
        | "mailing-list" => true,
        "x-auto-response-suppress" => value != "none" && !value.is_empty(),
        "x-autoreply" | "x-autorespond" | "x-autoresponder" => value != "no",
        "return-path" => value == "<>",
        // RFC 3461 and its kin: reports of what became of a mail.
        "content-type" => value.starts_with("multipart/report"),
        _ => false,
    }
}

fn is_nobody(address: &str) -> bool {
    let local = address.rsplit_once('@').map_or("", |(local, _)| local).to_ascii_lowercase();
    // What follows a plus only tells its messages apart.
    let words = local.split('+').next().unwrap_or_default().replace(['-', '_', '.'], "");
    let of_a_list = local.starts_with("owner-") || local.ends_with("-request") || local.starts_with("bounce");
    of_a_list || NOBODY.contains(&words.as_str())
}

#[cfg(test)]
mod tests {
    use super::super::parse::parse;

    #[test]
    fn machines_lists_and_bounces_are_known_and_people_are_not_taken_for_them() {
        let is_automatic = |header: &str| parse(format!("{header}\r\n\r\nx").as_bytes()).automatic;
        for header in [
            "From: a@b.co\r\nAuto-Submitted: auto-replied",
            "From: a@b.co\r\nAuto-Submitted: auto-generated; x=y",
            "From: a@b.co\r\nAuto-Submitted: auto-notified (by hand)",
            "From: a@b.co\r\nPrecedence: bulk",
            "From: a@b.co\r\nPrecedence: List",
            "From: a@b.co\r\nList-Id: <news.b.co>",
            "From: a@b.co\r\nList-Unsubscribe: <mailto:x@b.co>",
            "From: a@b.co\r\nX-Auto-Response-Suppress: OOF, AutoReply",
            "Return-Path: <>\r\nFrom: a@b.co",
            "From: MAILER-DAEMON@b.co",
            "From: no-reply@b.co",
            "From: Shop <No_Reply+123@b.co>",
            "From: do-not-reply@b.co",
            "From: owner-news@b.co",
            "From: news-request@b.co",
            "From: bounces+7=a=b.co@lists.b.co",
            "From: a@b.co\r\nContent-Type: multipart/report; report-type=delivery-status; boundary=x",
        ] {
            assert!(is_automatic(header), "{header}");
        }
        for header in [
            "From: a@b.co",
            "From: a@b.co\r\nAuto-Submitted: no",
            "From: a@b.co\r\nAuto-Submitted: No (really)",
            "From: a@b.co\r\nPrecedence: first-class",
            "From: a@b.co\r\nX-Auto-Response-Suppress: None",
            "Return-Path: <a@b.co>\r\nFrom: a@b.co",
            "From: reply@b.co",
            "From: nora.eply@b.co",
            "From: a@no-reply.co",
        ] {
            assert!(!is_automatic(header), "{header}");
        }
    }
}
