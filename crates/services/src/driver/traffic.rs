//! Services and their endpoints, for whoever leads requests to them: told anew whenever one of them
//! has changed.

use std::sync::Arc;

use atoll_world::task;
use tokio::sync::watch;

use super::mirror::Mirror;
use crate::{
    api::Traffic,
    core::{controllers::world::View as _, kinds},
};

/// Begins to follow.
pub(super) fn follow(mirror: Mirror) -> watch::Receiver<Arc<Traffic>> {
    let (sender, receiver) = watch::channel(Arc::default());
    task::spawn(async move {
        let mut news = mirror.news();
        let mut seen = tell(&mirror, &sender);
        while news.changed().await.is_ok() {
            let (changes, standing) = mirror.changes_since(seen);
            let is_news = changes.is_none_or(|changes| {
                let kinds = [
                    &kinds::SERVICES,
                    &kinds::ENDPOINT_SLICES,
                    &kinds::INGRESSES,
                    &kinds::SECRETS,
                ];
                changes
                    .iter()
                    .any(|changed| kinds.contains(&changed.name.kind))
            });
            seen = match is_news {
                true => tell(&mirror, &sender),
                false => standing.changes,
            };
        }
    });
    receiver
}

/// Tells what there is; how many changes there were then.
fn tell(mirror: &Mirror, sender: &watch::Sender<Arc<Traffic>>) -> u64 {
    let look = mirror.look();
    let traffic = Traffic {
        services: look.list(&kinds::SERVICES, None),
        slices: look.list(&kinds::ENDPOINT_SLICES, None),
        ingresses: look.list(&kinds::INGRESSES, None),
        secrets: look.list(&kinds::SECRETS, None),
    };
    sender.send_replace(Arc::new(traffic));
    look.standing().changes
}
