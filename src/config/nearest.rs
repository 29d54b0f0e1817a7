//! "Did you mean": the known word that is nearest to one that is not.

/// Longer words are not compared: the work grows with the product of the lengths.
const MAX_LEN: usize = 64;

/// The candidate that needs the fewest edits to become `word`, if that is few for its length.
pub(super) fn nearest<'c>(word: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
    let word: Vec<char> = word.to_lowercase().chars().collect();
    if word.is_empty() || word.len() > MAX_LEN {
        return None;
    }
    let limit = (word.len() / 3).max(1);
    let measured = candidates.into_iter().filter_map(|candidate| {
        let letters: Vec<char> = candidate.to_lowercase().chars().take(MAX_LEN + 1).collect();
        let near = letters.len().abs_diff(word.len()) <= limit;
        near.then(|| (distance(&word, &letters), candidate))
    });
    measured
        .filter(|(edits, _)| *edits <= limit)
        .min_by_key(|(edits, _)| *edits)
        .map(|(_, candidate)| candidate)
}

/// Edits from `a` to `b`: insertions, deletions, replacements and swaps of neighbours (optimal string alignment).
fn distance(a: &[char], b: &[char]) -> usize {
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let replace = above[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut edits = replace.min(above[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                edits = edits.min(before[j - 2] + 1);
            }
            row.push(edits);
        }
        before = std::mem::replace(&mut above, row);
    }
    above[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_each_kind_of_edit() {
        let edits =
            |a: &str, b: &str| distance(&a.chars().collect::<Vec<_>>(), &b.chars().collect::<Vec<_>>());
        assert_eq!(edits("upstream", "upstream"), 0);
        assert_eq!(edits("uptsream", "upstream"), 1);
        assert_eq!(edits("upsteam", "upstream"), 1);
        assert_eq!(edits("upstreams", "upstream"), 1);
        assert_eq!(edits("kitten", "sitting"), 3);
        assert_eq!(edits("", "abc"), 3);
    }

    #[test]
    fn the_nearest_wins_and_far_ones_do_not() {
        assert_eq!(nearest("hots", ["root", "hosts", "routes"]), Some("hosts"));
        assert_eq!(nearest("ICETCP", ["icetcp", "icedirect"]), Some("icetcp"));
        assert_eq!(nearest("colour", ["root", "hosts"]), None);
        assert_eq!(nearest("", ["a"]), None);
        assert_eq!(nearest(&"x".repeat(65), ["x"]), None);
    }
}
