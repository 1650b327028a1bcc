//! The Auth service. Passwords stop here: what goes on is hashed.

use prost::Message as _;
use tonic::Status;

use super::{
    Face,
    caller::{Caller, header},
    methods,
};
use crate::{
    api::{ControlApi, Reply},
    core::error::Error,
    proto::{
        etcdserverpb::{self as pb, auth_server::Auth},
        internal::command::Op,
    },
};

/// Handlers that only hand a command on and answer a bare header.
macro_rules! handed_on {
    ($($handler:ident: $request:ident => $response:ident, $op:ident;)*) => {
        impl<C: ControlApi> Face<C> {
            $(
                async fn $handler(
                    &self,
                    caller: Caller<'_>,
                    request: pb::$request,
                ) -> Result<pb::$response, Status> {
                    let header = self.hand_on(caller, Op::$op(request)).await?;
                    Ok(pb::$response { header })
                }
            )*
        }
    };
}

handed_on! {
    on_auth_enable: AuthEnableRequest => AuthEnableResponse, AuthEnable;
    on_auth_disable: AuthDisableRequest => AuthDisableResponse, AuthDisable;
    on_user_delete: AuthUserDeleteRequest => AuthUserDeleteResponse, UserDelete;
    on_user_grant_role: AuthUserGrantRoleRequest => AuthUserGrantRoleResponse, UserGrantRole;
    on_user_revoke_role: AuthUserRevokeRoleRequest => AuthUserRevokeRoleResponse, UserRevokeRole;
    on_role_add: AuthRoleAddRequest => AuthRoleAddResponse, RoleAdd;
    on_role_delete: AuthRoleDeleteRequest => AuthRoleDeleteResponse, RoleDelete;
    on_role_grant_permission: AuthRoleGrantPermissionRequest => AuthRoleGrantPermissionResponse, RoleGrantPermission;
    on_role_revoke_permission: AuthRoleRevokePermissionRequest => AuthRoleRevokePermissionResponse, RoleRevokePermission;
}

impl<C: ControlApi> Face<C> {
    /// Proposes a command of this service; whether the caller may is checked where it is
    /// applied.
    async fn hand_on(
        &self,
        caller: Caller<'_>,
        op: Op,
    ) -> Result<Option<pb::ResponseHeader>, Status> {
        let standing = self.enter(caller, false)?;
        let identity = self.identity(caller, &standing)?;
        self.fits(op.encoded_len())?;
        let applied = self.control.propose(identity, op).await?;
        assert_eq!(
            applied.reply,
            Reply::Auth,
            "a command on users answers nothing else"
        );
        Ok(header(&standing, applied.revision.0))
    }

    async fn on_auth_status(
        &self,
        caller: Caller<'_>,
        _request: pb::AuthStatusRequest,
    ) -> Result<pb::AuthStatusResponse, Status> {
        let standing = self.enter(caller, false)?;
        self.identity(caller, &standing)?;
        self.control.barrier().await?;
        let (enabled, auth_revision) = self.control.auth_status();
        Ok(pb::AuthStatusResponse {
            header: header(&standing, 0),
            enabled,
            auth_revision,
        })
    }

    async fn on_authenticate(
        &self,
        caller: Caller<'_>,
        request: pb::AuthenticateRequest,
    ) -> Result<pb::AuthenticateResponse, Status> {
        let standing = self.enter(caller, false)?;
        let token = self
            .control
            .authenticate(request.name, request.password)
            .await?;
        Ok(pb::AuthenticateResponse {
            header: header(&standing, 0),
            token,
        })
    }

    async fn on_user_add(
        &self,
        caller: Caller<'_>,
        mut request: pb::AuthUserAddRequest,
    ) -> Result<pb::AuthUserAddResponse, Status> {
        let standing = self.enter(caller, false)?;
        // Hashing is made to be slow, so only those who may add a user are given it.
        self.admin(caller, &standing)?;
        if request.name.is_empty() {
            return Err(Error::UserEmpty.into());
        }
        self.fits(request.encoded_len())?;
        let password = std::mem::take(&mut request.password);
        let has_password = !request.options.as_ref().is_some_and(|o| o.no_password);
        request.hashed_password = match has_password {
            true => self.control.hash_password(password).await?,
            false => String::new(),
        };
        let header = self.hand_on(caller, Op::UserAdd(request)).await?;
        Ok(pb::AuthUserAddResponse { header })
    }

    async fn on_user_change_password(
        &self,
        caller: Caller<'_>,
        mut request: pb::AuthUserChangePasswordRequest,
    ) -> Result<pb::AuthUserChangePasswordResponse, Status> {
        let standing = self.enter(caller, false)?;
        self.admin(caller, &standing)?;
        self.fits(request.encoded_len())?;
        let password = std::mem::take(&mut request.password);
        // A hash that a client made is of no use: ours is another function.
        request.hashed_password = match password.is_empty() {
            true => String::new(),
            false => self.control.hash_password(password).await?,
        };
        let header = self
            .hand_on(caller, Op::UserChangePassword(request))
            .await?;
        Ok(pb::AuthUserChangePasswordResponse { header })
    }

    async fn on_user_get(
        &self,
        caller: Caller<'_>,
        request: pb::AuthUserGetRequest,
    ) -> Result<pb::AuthUserGetResponse, Status> {
        let standing = self.enter(caller, false)?;
        let identity = self.identity(caller, &standing)?;
        self.control.barrier().await?;
        Ok(pb::AuthUserGetResponse {
            header: header(&standing, 0),
            roles: self.control.user(&identity, &request.name)?,
        })
    }

    async fn on_user_list(
        &self,
        caller: Caller<'_>,
        _request: pb::AuthUserListRequest,
    ) -> Result<pb::AuthUserListResponse, Status> {
        let standing = self.enter(caller, false)?;
        let identity = self.identity(caller, &standing)?;
        self.control.barrier().await?;
        Ok(pb::AuthUserListResponse {
            header: header(&standing, 0),
            users: self.control.users(&identity)?,
        })
    }

    async fn on_role_get(
        &self,
        caller: Caller<'_>,
        request: pb::AuthRoleGetRequest,
    ) -> Result<pb::AuthRoleGetResponse, Status> {
        let standing = self.enter(caller, false)?;
        let identity = self.identity(caller, &standing)?;
        self.control.barrier().await?;
        Ok(pb::AuthRoleGetResponse {
            header: header(&standing, 0),
            perm: self.control.role(&identity, &request.role)?,
        })
    }

    async fn on_role_list(
        &self,
        caller: Caller<'_>,
        _request: pb::AuthRoleListRequest,
    ) -> Result<pb::AuthRoleListResponse, Status> {
        let standing = self.enter(caller, false)?;
        let identity = self.identity(caller, &standing)?;
        self.control.barrier().await?;
        Ok(pb::AuthRoleListResponse {
            header: header(&standing, 0),
            roles: self.control.roles(&identity)?,
        })
    }
}

impl<C: ControlApi> Auth for Face<C> {
    methods! {
        auth_enable: pb::AuthEnableRequest => pb::AuthEnableResponse, on_auth_enable;
        auth_disable: pb::AuthDisableRequest => pb::AuthDisableResponse, on_auth_disable;
        auth_status: pb::AuthStatusRequest => pb::AuthStatusResponse, on_auth_status;
        authenticate: pb::AuthenticateRequest => pb::AuthenticateResponse, on_authenticate;
        user_add: pb::AuthUserAddRequest => pb::AuthUserAddResponse, on_user_add;
        user_get: pb::AuthUserGetRequest => pb::AuthUserGetResponse, on_user_get;
        user_list: pb::AuthUserListRequest => pb::AuthUserListResponse, on_user_list;
        user_delete: pb::AuthUserDeleteRequest => pb::AuthUserDeleteResponse, on_user_delete;
        user_change_password: pb::AuthUserChangePasswordRequest => pb::AuthUserChangePasswordResponse, on_user_change_password;
        user_grant_role: pb::AuthUserGrantRoleRequest => pb::AuthUserGrantRoleResponse, on_user_grant_role;
        user_revoke_role: pb::AuthUserRevokeRoleRequest => pb::AuthUserRevokeRoleResponse, on_user_revoke_role;
        role_add: pb::AuthRoleAddRequest => pb::AuthRoleAddResponse, on_role_add;
        role_get: pb::AuthRoleGetRequest => pb::AuthRoleGetResponse, on_role_get;
        role_list: pb::AuthRoleListRequest => pb::AuthRoleListResponse, on_role_list;
        role_delete: pb::AuthRoleDeleteRequest => pb::AuthRoleDeleteResponse, on_role_delete;
        role_grant_permission: pb::AuthRoleGrantPermissionRequest => pb::AuthRoleGrantPermissionResponse, on_role_grant_permission;
        role_revoke_permission: pb::AuthRoleRevokePermissionRequest => pb::AuthRoleRevokePermissionResponse, on_role_revoke_permission;
    }
}
