//! Who the process is.

use std::ffi::CString;

use anyhow::{Result, anyhow};
use nix::unistd::{Gid, Uid, User, geteuid, initgroups, setgid, setgroups, setuid};

use crate::config::{self, Process};

/// The user and the group that the process is to become, once its sockets are open.
#[derive(Debug, Default)]
pub(super) struct Somebody {
    uid: Option<Uid>,
    gid: Option<Gid>,
    name: Option<CString>,
}

impl Somebody {
    /// Whom a configuration names. Only root can become somebody: for others it is nobody.
    ///
    /// # Errors
    ///
    /// When there is no such user or group.
    pub(super) fn of(process: &Process) -> Result<Self> {
        if !geteuid().is_root() {
            return Ok(Self::default());
        }
        let number = |text: &str, look_up: fn(&str) -> Result<u32, String>| match text {
            "" => Ok(None),
            text => look_up(text).map(Some).map_err(|error| anyhow!(error)),
        };
        let uid = number(&process.user, config::user)?.map(Uid::from_raw);
        let user = uid.and_then(|uid| User::from_uid(uid).ok().flatten());
        let gid = number(&process.group, config::group)?.map(Gid::from_raw);
        let gid = gid.or_else(|| user.as_ref().map(|user| user.gid));
        Ok(Self { uid, gid, name: user.and_then(|user| CString::new(user.name).ok()) })
    }

    /// User and group by number, for files that are to be theirs.
    pub(super) fn owner(&self) -> Option<(u32, u32)> {
        Some((self.uid?.as_raw(), self.gid?.as_raw()))
    }

    /// Becomes them.
    ///
    /// # Errors
    ///
    /// When the system does not let it.
    pub(super) fn become_it(self) -> Result<()> {
        let Self { uid, gid, name } = self;
        let fail = |what: String| move |error: nix::Error| anyhow!("cannot become {what}: {error}");
        if let Some(gid) = gid {
            match &name {
                Some(name) => {
                    initgroups(name, gid).map_err(fail("a member of the user's groups".to_owned()))?;
                }
                None => setgroups(&[gid]).map_err(fail("a member of no other group".to_owned()))?,
            }
            setgid(gid).map_err(fail(format!("group {gid}")))?;
        }
        if let Some(uid) = uid {
            setuid(uid).map_err(fail(format!("user {uid}")))?;
            tracing::info!(uid = uid.as_raw(), "the process has become another user");
        }
        Ok(())
    }
}
