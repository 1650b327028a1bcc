//! The Cluster service: who is a member.

use atoll_base::id::NodeId;
use prost::Message as _;
use tonic::Status;

use super::{
    Face,
    caller::{Caller, header},
    methods,
};
use crate::{
    api::{ControlApi, Member, Standing},
    core::error::Error,
    proto::etcdserverpb::{self as pb, cluster_server::Cluster},
};

fn message(member: Member) -> pb::Member {
    pb::Member {
        id: member.node.0,
        name: member.name,
        peer_ur_ls: member.peer_urls,
        client_ur_ls: member.client_urls,
        is_learner: member.learner,
    }
}

/// Whether a URL names a scheme, a host and a port, and nothing after them.
fn is_member_url(url: &str) -> bool {
    let url = url.trim();
    let Some((scheme, rest)) = url.split_once("://") else {
        return false;
    };
    match scheme {
        "unix" | "unixs" => !rest.is_empty(),
        "http" | "https" => rest.rsplit_once(':').is_some_and(|(host, port)| {
            let bare = host
                .strip_prefix('[')
                .map_or(!host.contains(':'), |host| host.strip_suffix(']').is_some());
            bare && !host.contains(['/', '?', '#', '@']) && port.parse::<u16>().is_ok()
        }),
        _ => false,
    }
}

fn checked_urls(urls: Vec<String>) -> Result<Vec<String>, Error> {
    if urls.is_empty() || !urls.iter().all(|url| is_member_url(url)) {
        return Err(Error::MemberBadURLs);
    }
    let mut urls: Vec<String> = urls.iter().map(|url| url.trim().to_owned()).collect();
    urls.sort();
    Ok(urls)
}

impl<C: ControlApi> Face<C> {
    fn member_messages(&self) -> Vec<pb::Member> {
        self.control.members().into_iter().map(message).collect()
    }

    /// A header as this service sends it: without a revision.
    fn member_header(&self, standing: &Standing) -> Option<pb::ResponseHeader> {
        header(standing, 0).map(|header| pb::ResponseHeader {
            revision: 0,
            ..header
        })
    }

    /// Every new member begins as a learner, whatever was asked for; the answer says so.
    async fn on_member_add(
        &self,
        caller: Caller<'_>,
        request: pb::MemberAddRequest,
    ) -> Result<pb::MemberAddResponse, Status> {
        let standing = self.enter(caller, false)?;
        self.fits(request.encoded_len())?;
        let urls = checked_urls(request.peer_ur_ls)?;
        self.admin(caller, &standing)?;
        let member = self.control.member_add(urls).await?;
        Ok(pb::MemberAddResponse {
            header: self.member_header(&standing),
            member: Some(message(member)),
            members: self.member_messages(),
        })
    }

    async fn on_member_remove(
        &self,
        caller: Caller<'_>,
        request: pb::MemberRemoveRequest,
    ) -> Result<pb::MemberRemoveResponse, Status> {
        let standing = self.enter(caller, false)?;
        self.admin(caller, &standing)?;
        self.control.member_remove(NodeId(request.id)).await?;
        Ok(pb::MemberRemoveResponse {
            header: self.member_header(&standing),
            members: self.member_messages(),
        })
    }

    async fn on_member_update(
        &self,
        caller: Caller<'_>,
        request: pb::MemberUpdateRequest,
    ) -> Result<pb::MemberUpdateResponse, Status> {
        let standing = self.enter(caller, false)?;
        self.fits(request.encoded_len())?;
        let urls = checked_urls(request.peer_ur_ls)?;
        self.admin(caller, &standing)?;
        self.control.member_update(NodeId(request.id), urls).await?;
        Ok(pb::MemberUpdateResponse {
            header: self.member_header(&standing),
            members: self.member_messages(),
        })
    }

    async fn on_member_list(
        &self,
        caller: Caller<'_>,
        request: pb::MemberListRequest,
    ) -> Result<pb::MemberListResponse, Status> {
        let standing = self.enter(caller, false)?;
        if request.linearizable {
            self.control.barrier().await?;
        }
        self.logged_in(caller, &standing)?;
        Ok(pb::MemberListResponse {
            header: self.member_header(&standing),
            members: self.member_messages(),
        })
    }

    async fn on_member_promote(
        &self,
        caller: Caller<'_>,
        request: pb::MemberPromoteRequest,
    ) -> Result<pb::MemberPromoteResponse, Status> {
        let standing = self.enter(caller, false)?;
        self.admin(caller, &standing)?;
        self.control.member_promote(NodeId(request.id)).await?;
        Ok(pb::MemberPromoteResponse {
            header: self.member_header(&standing),
            members: self.member_messages(),
        })
    }
}

impl<C: ControlApi> Cluster for Face<C> {
    methods! {
        member_add: pb::MemberAddRequest => pb::MemberAddResponse, on_member_add;
        member_remove: pb::MemberRemoveRequest => pb::MemberRemoveResponse, on_member_remove;
        member_update: pb::MemberUpdateRequest => pb::MemberUpdateResponse, on_member_update;
        member_list: pb::MemberListRequest => pb::MemberListResponse, on_member_list;
        member_promote: pb::MemberPromoteRequest => pb::MemberPromoteResponse, on_member_promote;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn member_urls_have_a_scheme_a_host_and_a_port_only() {
        for good in [
            "http://10.0.0.1:2380",
            "https://[::1]:2380",
            "unix://a/b",
            " http://a:1 ",
        ] {
            assert!(is_member_url(good), "{good}");
        }
        for bad in [
            "",
            "a:1",
            "ftp://a:1",
            "http://a",
            "http://a:b",
            "http://a:1/x",
            "http://::1:2380",
        ] {
            assert!(!is_member_url(bad), "{bad}");
        }
        assert_eq!(checked_urls(Vec::new()), Err(Error::MemberBadURLs));
    }
}
