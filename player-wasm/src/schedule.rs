//! What to hand to the output, and when: contiguous, on whole frames, never in
//! the past.

/// A piece of PCM to play: output frames `output..output + frames` from
/// context frame `context` on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot {
    /// Context frame of the first one.
    pub context: u64,
    /// Output frame of the first one.
    pub output: u64,
    /// How many.
    pub frames: u64,
}

/// The scheduler of one output.
#[derive(Clone, Debug)]
pub struct Schedule {
    lead: u64,
    horizon: u64,
    block: u64,
    /// Context frame and output frame that come next, while running.
    next: Option<(u64, u64)>,
}

impl Schedule {
    /// Starts lie at least `lead` frames after *now*; blocks are handed out up
    /// to `horizon` frames ahead, in pieces of at most `block` frames.
    pub fn new(lead: u64, horizon: u64, block: u64) -> Self {
        Self {
            lead,
            horizon: horizon.max(lead * 2),
            block: block.max(128),
            next: None,
        }
    }

    /// Begins with output frame `output`, as early as the lead allows. Returns
    /// the context frame.
    pub fn start(&mut self, now: u64, output: u64) -> u64 {
        let context = now + self.lead;
        self.next = Some((context, output));
        context
    }

    /// Stops handing out.
    pub fn stop(&mut self) {
        self.next = None;
    }

    /// Goes on from output frame `output` at context frame `context`, although the
    /// one before it was not the last handed out (a skip).
    pub fn splice(&mut self, context: u64, output: u64) {
        self.next = Some((context, output));
    }

    /// Whether it was started and not stopped.
    pub fn running(&self) -> bool {
        self.next.is_some()
    }

    /// Context frame at which what was handed out ends.
    pub fn end(&self) -> Option<u64> {
        self.next.map(|(context, _)| context)
    }

    /// Output frame to be handed out next.
    pub fn next_output(&self) -> Option<u64> {
        self.next.map(|(_, output)| output)
    }

    /// How far ahead of *now* blocks are handed out.
    pub fn horizon(&self) -> u64 {
        self.horizon
    }

    /// Least distance from *now* to a start.
    pub fn lead(&self) -> u64 {
        self.lead
    }

    /// Whether the output has run dry: everything handed out was heard, or
    /// will have been before anything more could reach the output.
    pub fn dry(&self, now: u64) -> bool {
        self.next
            .is_some_and(|(context, _)| now + self.guard() > context)
    }

    /// Frames an output needs to take a block; closer than this is too late.
    fn guard(&self) -> u64 {
        (self.lead / 2).min(256)
    }

    /// Moves what comes next so that a piece handed out for `context` can start a lead after
    /// *now*, when it no longer can in time. Returns by how many frames. What `begins` a run
    /// is put off without a gap, and so as soon as a good part of the lead is used up.
    pub fn put_off(&mut self, context: u64, now: u64, begins: bool) -> u64 {
        let guard = if begins {
            self.lead / 4 * 3
        } else {
            self.guard()
        };
        match &mut self.next {
            Some(next) if now + guard > context => {
                let late = (now + self.lead).saturating_sub(context);
                next.0 += late;
                late
            }
            _ => 0,
        }
    }

    /// The next piece, given that output frames below `available` exist.
    /// Short pieces wait for more unless `all` is set or time presses. `None`
    /// when there is none now; dry schedules hand out nothing.
    pub fn next_slot(&mut self, now: u64, available: u64, all: bool) -> Option<Slot> {
        let (context, output) = self.next?;
        if now + self.guard() > context || context >= now + self.horizon {
            return None;
        }
        let frames = available.saturating_sub(output).min(self.block);
        let pressing = context < now + 2 * self.lead;
        let enough = frames == self.block || all || pressing;
        if frames == 0 || !enough {
            return None;
        }
        self.next = Some((context + frames, output + frames));
        Some(Slot {
            context,
            output,
            frames,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hands_out_contiguous_blocks_up_to_the_horizon() {
        let mut schedule = Schedule::new(20, 1000, 200);
        assert_eq!(schedule.start(5, 70), 25);
        let mut at = (25, 70);
        while let Some(slot) = schedule.next_slot(5, 100_000, false) {
            assert_eq!((slot.context, slot.output), at);
            at = (slot.context + slot.frames, slot.output + slot.frames);
        }
        assert_eq!(at.0, 1025);
        assert!(!schedule.dry(1015));
        assert!(schedule.dry(1016));
        assert_eq!(
            schedule.next_slot(1016, 100_000, true),
            None,
            "never in the past"
        );
    }

    #[test]
    fn small_pieces_wait_unless_time_presses() {
        let mut schedule = Schedule::new(20, 1000, 200);
        schedule.start(0, 0);
        let first = schedule.next_slot(0, 50, false).expect("pressing");
        assert_eq!((first.context, first.frames), (20, 50));
        assert_eq!(schedule.next_slot(0, 60, false), None);
        assert_eq!(schedule.next_slot(0, 60, true).map(|s| s.frames), Some(10));
    }
}
