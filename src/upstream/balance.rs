//! The choice among servers that may be chosen. Pure; the caller brings what each mode needs.

use super::peer::ServerId;

/// A server that may be chosen.
#[derive(Clone, Copy, Debug)]
pub(super) struct Choice {
    /// Its place in its rotation.
    pub(super) index: usize,
    pub(super) id: ServerId,
    /// Its share beside the others', never 0.
    pub(super) weight: u64,
    /// What it is busy with.
    pub(super) load: usize,
}

/// Weighted round robin that interleaves: each turn every credit grows by the weight, the richest is chosen and pays
/// for all. `credits` is by index. `None`: there is no choice.
pub(super) fn round_robin(choices: &[Choice], credits: &mut [i64]) -> Option<usize> {
    let mut total = 0;
    let mut best: Option<usize> = None;
    for choice in choices {
        let weight = i64::try_from(choice.weight).unwrap_or(i64::MAX / 1024);
        total += weight;
        credits[choice.index] += weight;
        if best.is_none_or(|best| credits[choice.index] > credits[best]) {
            best = Some(choice.index);
        }
    }
    credits[best?] -= total;
    best
}

/// Weighted random choice by a random number.
pub(super) fn random(choices: &[Choice], number: u64) -> Option<usize> {
    let total: u64 = choices.iter().map(|choice| choice.weight).sum();
    let mut left = number.checked_rem(total)?;
    for choice in choices {
        match left.checked_sub(choice.weight) {
            Some(rest) => left = rest,
            None => return Some(choice.index),
        }
    }
    None
}

/// Those that are the least busy for their weight.
pub(super) fn least_busy(choices: &[Choice]) -> Vec<Choice> {
    // One more than now, so that among idle servers the heavier counts as the less busy.
    let cost = |choice: &Choice| (choice.load as u128 + 1, u128::from(choice.weight));
    let less = |(load, weight): (u128, u128), (other_load, other_weight): (u128, u128)| {
        (load * other_weight).cmp(&(other_load * weight))
    };
    let least = choices.iter().map(cost).min_by(|a, b| less(*a, *b));
    let among = |choice: &&Choice| least.is_some_and(|least| less(cost(choice), least).is_eq());
    choices.iter().filter(among).copied().collect()
}

/// Weighted rendezvous hashing: a key stays with its server while others come and go.
pub(super) fn hash(choices: &[Choice], key: u64) -> Option<usize> {
    let score = |choice: &Choice| {
        let bits = mix(key ^ mix(choice.id.0));
        // In (0, 1), so that the logarithm is finite and negative.
        let uniform = ((bits >> 11) as f64 + 0.5) / (1_u64 << 53) as f64;
        choice.weight as f64 / -uniform.ln()
    };
    let best = choices.iter().max_by(|a, b| score(a).total_cmp(&score(b)));
    best.map(|choice| choice.index)
}

/// The finaliser of SplitMix64: every bit of the input changes half of those of the output.
fn mix(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choices(of: &[(u64, usize)]) -> Vec<Choice> {
        let choice = |(index, &(weight, load)): (usize, &(u64, usize))| Choice {
            index,
            id: ServerId(index as u64 + 1),
            weight,
            load,
        };
        of.iter().enumerate().map(choice).collect()
    }

    fn tally(n: usize, count: usize, mut pick: impl FnMut(u64) -> Option<usize>) -> Vec<usize> {
        let mut tally = vec![0; n];
        for turn in 0..count {
            tally[pick(turn as u64).unwrap()] += 1;
        }
        tally
    }

    #[test]
    fn nothing_to_choose_from_is_no_choice() {
        assert_eq!(round_robin(&[], &mut []), None);
        assert_eq!(random(&[], 7), None);
        assert_eq!(hash(&[], 7), None);
        assert!(least_busy(&[]).is_empty());
    }

    #[test]
    fn round_robin_shares_by_weight_and_interleaves() {
        let choices = choices(&[(5, 0), (1, 0), (1, 0)]);
        let mut credits = [0; 3];
        let turns: Vec<_> = (0..7)
            .map(|_| round_robin(&choices, &mut credits).unwrap())
            .collect();
        assert_eq!(turns, [0, 0, 1, 0, 2, 0, 0]);
        assert_eq!(credits, [0; 3], "a round ends where it began");
    }

    #[test]
    fn random_shares_by_weight() {
        let choices = choices(&[(3, 0), (1, 0)]);
        assert_eq!(tally(2, 400, |turn| random(&choices, turn)), [300, 100]);
    }

    #[test]
    fn the_least_busy_are_those_with_the_least_per_weight() {
        let indices = |of: &[(u64, usize)]| -> Vec<usize> {
            least_busy(&choices(of))
                .iter()
                .map(|choice| choice.index)
                .collect()
        };
        assert_eq!(indices(&[(1, 2), (1, 1), (1, 1)]), [1, 2]);
        assert_eq!(indices(&[(1, 1), (4, 6)]), [1], "7/4 is less than 2/1");
        assert_eq!(indices(&[(1, 0), (2, 0)]), [1], "the heavier first");
    }

    #[test]
    fn hashing_shares_by_weight_and_moves_only_the_keys_of_a_server_that_left() {
        let all = choices(&[(1, 0), (1, 0), (2, 0)]);
        let shares = tally(3, 8000, |key| hash(&all, mix(key)));
        for (share, expected) in shares.into_iter().zip([2000, 2000, 4000]) {
            assert!(usize::abs_diff(share, expected) < 200, "{share} for {expected}");
        }
        let left: Vec<_> = all.iter().filter(|choice| choice.index != 1).copied().collect();
        for key in (0..1000).map(mix) {
            let (before, after) = (hash(&all, key), hash(&left, key));
            assert!(before == after || before == Some(1), "{key}");
        }
    }
}
