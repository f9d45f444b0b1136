//! One release at a time for an upstream: a session with a time to live holds a key.
//!
//! The holder renews its session. When it could not for so long that the session may be over, nothing is written until
//! it is known that nobody else took the lock: then it is taken anew, or the release has lost it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::task::AbortHandle;
use tokio::time::Instant;
use weir_rollout::Moment;

use crate::store::{Acquired, Core, Store, StoreError, StoreEvent, document, parse};

/// A session ends when it was not renewed for so long; Consul allows no less, and may take twice as long.
const TTL: Duration = Duration::from_secs(10);

/// Between renewals, and the longest that one may take.
const PERIOD: Duration = Duration::from_secs(2);

/// After so long without a renewal nothing is written: the next look comes in time before the session can be over.
const SURE: Duration = Duration::from_secs(6);

/// Between looks at a key that is neither free nor held: Consul keeps it for a moment (its lock delay).
const LOOK: Duration = Duration::from_millis(200);

const EXPECTED: &str = "a release's lock; weir rollout break-lock removes it";

/// Who releases.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// The user.
    pub who: String,
    pub host: String,
    pub pid: u32,
    pub since: Moment,
    /// The new version, as the plan says it.
    pub version: Option<String>,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{} (process {}", self.who, self.host, self.pid)?;
        match &self.version {
            Some(version) => write!(f, ", version {version})"),
            None => f.write_str(")"),
        }
    }
}

/// Why there is no lock.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    #[error(
        "{0} releases this upstream now; wait, or look with weir rollout status; if that process is gone: weir rollout break-lock"
    )]
    HeldBy(Holder),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Whether this process may write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// No lock was asked for.
    None,
    /// Since this last renewal.
    Held(Instant),
    /// The session may be over.
    Unsure,
    Lost(String),
}

impl Standing {
    /// A process that was stopped for a while holds nothing until it has looked.
    pub(crate) fn is_known(&self) -> bool {
        match self {
            Self::Held(renewed) => renewed.elapsed() < SURE,
            Self::Unsure => false,
            Self::None | Self::Lost(_) => true,
        }
    }
}

/// The value of the key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Slip {
    #[serde(flatten)]
    holder: Holder,
    /// Somebody took it away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    broken_by: Option<String>,
}

/// The lock; it is renewed as long as this value lives, and ends some seconds after it.
#[must_use]
pub struct Lock {
    core: Arc<Core>,
    holder: Holder,
    claim: Arc<tokio::sync::Mutex<Claim>>,
    renewal: AbortHandle,
}

/// What the lock is held with.
struct Claim {
    slip: Slip,
    value: Vec<u8>,
    session: String,
    /// When the last successful renewal was sent.
    renewed: Instant,
}

/// What became of a claim.
enum Verdict {
    Ours,
    /// The session is over.
    Gone,
    Broken(String),
}

impl Drop for Lock {
    fn drop(&mut self) {
        self.renewal.abort();
    }
}

impl Lock {
    /// Who has it.
    pub(crate) const fn holder(&self) -> &Holder {
        &self.holder
    }

    /// Lets the lock go at once.
    ///
    /// # Errors
    /// When the store refuses; the lock then ends by itself.
    pub async fn release(self) -> Result<(), StoreError> {
        self.renewal.abort();
        let (core, key) = (&self.core, self.core.key("lock"));
        let claim = self.claim.lock().await;
        core.standing.send_replace(Standing::None);
        // Its words go while the session still keeps others away.
        if let Some(item) = core.link.patiently(|| core.kv.get(&key)).await?
            && item.value == claim.value
        {
            core.link.patiently(|| core.kv.delete(&item)).await?;
        }
        core.link.patiently(|| core.kv.close(&claim.session)).await
    }
}

impl Store {
    /// Takes the lock, and from then on everything is written only while it is held. [`StoreEvent::LockLost`] tells when it
    /// is not any more. The runtime has to be running for it to be renewed.
    ///
    /// # Errors
    /// [`LockError::HeldBy`] with the one who has it.
    pub async fn lock(&self, holder: Holder) -> Result<Lock, LockError> {
        let core = &self.core;
        let slip = Slip { holder: holder.clone(), broken_by: None };
        let value = document(&core.key("lock"), &slip)?;
        let renewed = Instant::now();
        let session = core.open_session().await?;
        let mut claim = Claim { slip, value, session, renewed };
        if let Err(error) = core.take(&mut claim).await {
            core.link.patiently(|| core.kv.close(&claim.session)).await?;
            return Err(error);
        }
        core.standing.send_replace(Standing::Held(claim.renewed));
        let claim = Arc::new(tokio::sync::Mutex::new(claim));
        let renewal = tokio::spawn(keep(Arc::clone(core), Arc::clone(&claim))).abort_handle();
        Ok(Lock { core: Arc::clone(core), holder, claim, renewal })
    }

    /// The same, and waits for a lock whose process may be gone: its session ends by itself within 20 s.
    ///
    /// # Errors
    /// [`LockError::HeldBy`] when it still is held after `patience`.
    pub async fn lock_within(&self, holder: Holder, patience: Duration) -> Result<Lock, LockError> {
        let end = Instant::now() + patience;
        loop {
            match self.lock(holder.clone()).await {
                Err(LockError::HeldBy(_)) if Instant::now() < end => tokio::time::sleep(LOOK).await,
                answer => return answer,
            }
        }
    }

    /// Who has the lock now; absent: nobody.
    ///
    /// # Errors
    /// When the store refuses, or the lock is unreadable.
    pub async fn holder(&self) -> Result<Option<Holder>, StoreError> {
        let (core, key) = (&self.core, self.core.key("lock"));
        let item = core.link.patiently(|| core.kv.get(&key)).await?;
        let held = item.filter(|item| item.session.is_some());
        Ok(held.map(|item| parse::<Slip>(&item, EXPECTED)).transpose()?.map(|slip| slip.holder))
    }

    /// Takes the lock away from whoever has it, and tells who that was. If that process lives, it stops within seconds.
    ///
    /// # Errors
    /// When the store refuses, or the holder changes all the time.
    pub async fn break_lock(&self, by: &str) -> Result<Option<Holder>, StoreError> {
        const ROUNDS: u32 = 8;
        let (core, key) = (&self.core, self.core.key("lock"));
        let mut broken = None;
        for _ in 0..ROUNDS {
            let Some(item) = core.link.patiently(|| core.kv.get(&key)).await? else { return Ok(broken) };
            let Some(session) = item.session.clone() else { return Ok(broken) };
            let Ok(mut slip) = parse::<Slip>(&item, EXPECTED) else {
                // Nobody's words; the session alone can go.
                core.link.patiently(|| core.kv.delete(&item)).await?;
                core.link.patiently(|| core.kv.close(&session)).await?;
                continue;
            };
            if slip.broken_by.is_none() {
                // First the words, so that the holder does not take it anew when its session is over.
                slip.broken_by = Some(by.to_owned());
                let value = document(&key, &slip)?;
                broken = Some(slip.holder);
                if !core.link.patiently(|| core.kv.seize(&value, &item)).await? {
                    continue;
                }
            } else {
                broken = Some(slip.holder);
            }
            core.link.patiently(|| core.kv.close(&session)).await?;
            return Ok(broken);
        }
        Err(StoreError::Contended { key, rounds: ROUNDS })
    }
}

impl Core {
    async fn open_session(&self) -> Result<String, StoreError> {
        let name = format!("weir rollout {}", self.upstream);
        self.link.patiently(|| self.kv.open(&name, TTL)).await
    }

    /// Until it is known who has the lock.
    async fn take(&self, claim: &mut Claim) -> Result<(), LockError> {
        const LOOKS: u32 = 150;
        let key = self.key("lock");
        for _ in 0..LOOKS {
            match self.link.patiently(|| self.kv.acquire(&key, &claim.value, &claim.session)).await? {
                Acquired::Yes => return Ok(()),
                Acquired::SessionGone => {
                    claim.renewed = Instant::now();
                    claim.session = self.open_session().await?;
                    continue;
                }
                Acquired::No => {}
            }
            match self.link.patiently(|| self.kv.get(&key)).await? {
                Some(item) if item.session.is_some() => {
                    return Err(LockError::HeldBy(parse::<Slip>(&item, EXPECTED)?.holder));
                }
                _ => tokio::time::sleep(LOOK).await,
            }
        }
        Err(StoreError::Contended { key, rounds: LOOKS }.into())
    }

    /// Renews once, and looks whether the key still says so.
    async fn confirm(&self, claim: &Claim) -> Result<Verdict, StoreError> {
        let alive = self.kv.renew(&claim.session).await?;
        let Some(item) = self.kv.get(&self.key("lock")).await? else { return Ok(Verdict::Gone) };
        if alive && item.value == claim.value && item.session.as_ref() == Some(&claim.session) {
            return Ok(Verdict::Ours);
        }
        match parse::<Slip>(&item, EXPECTED)? {
            Slip { holder, broken_by: Some(by) } if holder == claim.slip.holder => {
                Ok(Verdict::Broken(format!("broken by {by}")))
            }
            Slip { holder, .. } if holder != claim.slip.holder => {
                Ok(Verdict::Broken(format!("{holder} has it")))
            }
            _ => Ok(Verdict::Gone),
        }
    }

    async fn lose(&self, claim: &Claim, why: String) {
        self.standing.send_replace(Standing::Lost(why.clone()));
        self.link.tell(StoreEvent::LockLost { why });
        // It holds nothing any more; where this fails, it ends by itself.
        let _ = self.kv.close(&claim.session).await;
    }
}

/// Renews until the lock is lost.
async fn keep(core: Arc<Core>, claim: Arc<tokio::sync::Mutex<Claim>>) {
    loop {
        let unsure = matches!(*core.standing.borrow(), Standing::Unsure);
        tokio::time::sleep(if unsure { LOOK } else { PERIOD }).await;
        let mut claim = claim.lock().await;
        let sent = Instant::now();
        match tokio::time::timeout(PERIOD, core.confirm(&claim)).await {
            Ok(Ok(Verdict::Ours)) => {
                claim.renewed = sent;
                core.link.heard(None);
                core.standing.send_replace(Standing::Held(sent));
            }
            Ok(Ok(Verdict::Broken(why))) => return core.lose(&claim, why).await,
            Ok(Ok(Verdict::Gone)) => {
                core.standing.send_replace(Standing::Unsure);
                claim.renewed = Instant::now();
                match core.take(&mut claim).await {
                    Ok(()) => {
                        core.standing.send_replace(Standing::Held(claim.renewed));
                    }
                    Err(LockError::HeldBy(holder)) => {
                        return core.lose(&claim, format!("{holder} has it")).await;
                    }
                    Err(LockError::Store(error)) => return core.lose(&claim, error.to_string()).await,
                }
            }
            Ok(Err(error)) if !error.passes() => return core.lose(&claim, error.to_string()).await,
            Ok(Err(error)) => core.link.heard(Some(error.to_string())),
            Err(_) => core.link.heard(Some(format!("no answer to a renewal within {} s", PERIOD.as_secs()))),
        }
        if claim.renewed.elapsed() >= SURE {
            core.standing.send_replace(Standing::Unsure);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_old_renewal_is_worth_nothing() {
        let held = Standing::Held(Instant::now());
        assert!(held.is_known());
        tokio::time::advance(SURE).await;
        assert!(!held.is_known());
    }
}
