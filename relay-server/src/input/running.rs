//! Which inputs and forwards run, and what a new configuration changes of that:
//! what it names as before runs on undisturbed.

use std::sync::{Arc, PoisonError};
use std::time::Instant;

use tokio::task::JoinHandle;

use super::{Status, packets, play, pull};
use crate::config::{Config, Forward, ForwardKind, Input, InputKind};
use crate::forward::{self, Target};
use crate::server::Relay;

/// An input that runs.
type Started = (Arc<Status>, JoinHandle<()>);
/// A forward that runs: its targets, and what serves them.
type Forwarding = (Vec<Arc<Target>>, Vec<JoinHandle<()>>);

/// What runs, each under what the configuration said of it.
#[derive(Debug, Default)]
pub(crate) struct Running {
    inputs: Vec<(Input, Started)>,
    forwards: Vec<(Wanted, Forwarding)>,
}

/// A forward, and whether an input's packets drive it.
#[derive(Clone, Debug, PartialEq)]
struct Wanted {
    forward: Forward,
    driven: bool,
}

/// Brings what runs in line with the configuration. What cannot be opened is
/// said in the log and tried again.
pub(crate) async fn apply(relay: &Arc<Relay>) {
    let mut running = relay.board.running.lock().await;
    let config = relay.config();
    let (gone, fresh) = sort_out(&mut running.inputs, &config.inputs);
    for (input, (status, task)) in gone {
        stop(relay, &config, &input, &status, task).await;
    }
    let wanted: Vec<Wanted> = config
        .forwards
        .iter()
        .map(|forward| Wanted {
            driven: is_driven(&config, forward),
            forward: forward.clone(),
        })
        .collect();
    let (gone, begin) = sort_out(&mut running.forwards, &wanted);
    for (wanted, (targets, tasks)) in gone {
        for task in tasks {
            task.abort();
        }
        let mount = &wanted.forward.mount;
        tracing::info!(%mount, forward = wanted.forward.kind.name(), "forward stopped");
        relay.board.change_targets(|all| {
            all.retain(|target| !targets.iter().any(|gone| Arc::ptr_eq(gone, target)));
        });
    }
    for wanted in begin {
        let started = forward::start(relay, &wanted.forward, wanted.driven);
        running.forwards.push((wanted, started));
    }
    for input in fresh {
        let started = start(relay, &input);
        running.inputs.push((input, started));
    }
}

/// Keeps in `running` what is wanted; returns what is not any more, and what
/// is new.
fn sort_out<K: PartialEq + Clone, R>(
    running: &mut Vec<(K, R)>,
    wanted: &[K],
) -> (Vec<(K, R)>, Vec<K>) {
    let mut fresh = wanted.to_vec();
    let mut gone = Vec::new();
    for (key, run) in std::mem::take(running) {
        match fresh.iter().position(|wanted| *wanted == key) {
            Some(at) => {
                fresh.remove(at);
                running.push((key, run));
            }
            None => gone.push((key, run)),
        }
    }
    (gone, fresh)
}

/// Whether the mount has an input whose packets `forward` copies.
fn is_driven(config: &Config, forward: &Forward) -> bool {
    let kind = match forward.kind {
        ForwardKind::Rtp => InputKind::Rtp,
        ForwardKind::Udp => InputKind::Udp,
        ForwardKind::Icecast => return false,
    };
    let mut inputs = config.inputs.iter();
    inputs.any(|input| input.kind == kind && input.mount == forward.mount)
}

fn start(relay: &Arc<Relay>, input: &Input) -> Started {
    let status = relay.board.add(input.kind.name(), &input.mount);
    let (relay, input, own) = (relay.clone(), input.clone(), status.clone());
    let task = tokio::spawn(async move {
        match input.kind {
            InputKind::Udp | InputKind::Rtp => packets::run(&relay, &input, &own).await,
            InputKind::Http => pull::run(&relay, &input, &own).await,
            InputKind::File | InputKind::Growing | InputKind::Stdin | InputKind::Command => {
                play::run(&relay, &input, &own).await;
            }
        }
    });
    (status, task)
}

/// Stops an input. Its mount's listeners are held if another input follows,
/// as after a lost source; else the programme is over.
async fn stop(
    relay: &Arc<Relay>,
    config: &Config,
    input: &Input,
    status: &Arc<Status>,
    task: JoinHandle<()>,
) {
    let was_live = status.is_live();
    task.abort();
    // Until it let go of its port, its program and its mount.
    let _ = task.await;
    let board = &relay.board;
    let mut inputs = board.inputs.write().unwrap_or_else(PoisonError::into_inner);
    inputs.retain(|other| !Arc::ptr_eq(other, status));
    drop(inputs);
    let mount = &input.mount;
    tracing::info!(%mount, input = input.kind.name(), "input stopped");
    let mut on_demand = board
        .on_demand
        .write()
        .unwrap_or_else(PoisonError::into_inner);
    if input.on_demand {
        on_demand.remove(mount);
    }
    drop(on_demand);
    let followed = config.inputs.iter().any(|other| other.mount == *mount);
    if was_live
        && !followed
        && let Some(mount) = relay.mounts.find(mount)
    {
        mount.give_up(Instant::now());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_named_as_before_stays() {
        let mut running = vec![("a", 1), ("b", 2), ("b", 3), ("c", 4)];
        let (gone, fresh) = sort_out(&mut running, &["d", "b", "a", "a"]);
        assert_eq!(running, [("a", 1), ("b", 2)]);
        assert_eq!(gone, [("b", 3), ("c", 4)]);
        assert_eq!(fresh, ["d", "a"]);
    }
}
