//! OpenSMTPD's queue on disk: `queue/<two digits>/<mail>/`, a mail's folder being there until all its copies are delivered.

use std::fs;
use std::path::Path;
use std::time::Duration;

use tokio::time::{sleep, timeout};

const LIMIT: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(5);

/// Waits, for a limited time, until every accepted mail is in its mailbox: one whose delivery is interrupted is delivered
/// some time after the next start, maybe twice.
pub(crate) async fn drain(root: &Path) {
    let queue = root.join("var/spool/smtpd/queue");
    let drained = async {
        while holds_mail(&queue) {
            sleep(PAUSE).await;
        }
    };
    // What stays is still in the queue at the next start.
    let _ = timeout(LIMIT, drained).await;
}

fn holds_mail(queue: &Path) -> bool {
    let entries = |folder: &Path| fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
    entries(queue).any(|part| entries(&part.path()).next().is_some())
}
