//! Cross-validation: would other constants, chosen on some traces, have been better on the others?

/// What one cross-validation found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Validation {
    /// Parts that were held back in turn.
    pub folds: usize,
    /// Mean cost of the traces held back, with the constants as they are.
    pub kept: f64,
    /// The same with what was best on the other traces.
    pub chosen: f64,
    /// The same with what is best on the held-back traces themselves: no choice can be better.
    pub best: f64,
    /// Parts for which the choice was to leave the constants alone.
    pub unchanged: usize,
}

/// `costs` holds a row per variant, the constants as they are first, and a cost per trace in it;
/// `fold` says which part each trace belongs to.
pub fn validate(costs: &[Vec<f64>], fold: &[usize]) -> Validation {
    let folds = fold.iter().max().map_or(0, |last| last + 1);
    let sum = |variant: usize, inside: bool, part: usize| -> f64 {
        let traces = costs[variant].iter().zip(fold);
        traces
            .filter(|(_, f)| (**f == part) == inside)
            .map(|(cost, _)| cost.min(60_000.0))
            .sum()
    };
    let cheapest = |inside: bool, part: usize| {
        (0..costs.len())
            .min_by(|a, b| sum(*a, inside, part).total_cmp(&sum(*b, inside, part)))
            .unwrap_or(0)
    };
    let traces = fold.len().max(1) as f64;
    let mut found = Validation {
        folds,
        kept: 0.0,
        chosen: 0.0,
        best: 0.0,
        unchanged: 0,
    };
    for part in 0..folds {
        let choice = cheapest(false, part);
        found.kept += sum(0, true, part) / traces;
        found.chosen += sum(choice, true, part) / traces;
        found.best += sum(cheapest(true, part), true, part) / traces;
        found.unchanged += usize::from(choice == 0);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_choice_never_sees_what_is_held_back() {
        // Variant 1 is far better on the first trace alone: chosen where that one is trained on, and it loses there.
        let costs = [vec![10.0, 10.0, 10.0], vec![0.0, 12.0, 12.0]];
        let found = validate(&costs, &[0, 1, 2]);
        assert_eq!((found.folds, found.unchanged), (3, 1));
        assert_eq!(found.kept, 10.0);
        assert_eq!(found.chosen, (10.0 + 12.0 + 12.0) / 3.0);
        assert_eq!(found.best, 20.0 / 3.0);
    }
}
