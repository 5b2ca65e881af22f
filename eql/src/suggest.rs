//! The nearest known name to one that is not known.

/// Of `candidates`, the one that `name` was probably meant to be, if one is near enough.
///
/// ```
/// assert_eq!(eql::suggest("file.pth", ["file.name", "file.path"]), Some("file.path"));
/// assert_eq!(eql::suggest("registry.key", ["file.name", "file.path"]), None);
/// ```
pub fn suggest<'c>(name: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
    // Longer names than this are nobody's typing error, and would take long.
    const LONGEST: usize = 128;
    if name.len() > LONGEST {
        return None;
    }
    let name = name.to_ascii_lowercase();
    let tolerated = (name.len() / 4).clamp(1, 4);
    candidates
        .into_iter()
        .filter(|candidate| candidate.len() <= LONGEST)
        .map(|candidate| (distance(&name, &candidate.to_ascii_lowercase()), candidate))
        .filter(|(distance, _)| *distance <= tolerated)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// How many bytes must be inserted, deleted, replaced or swapped with their neighbour to turn `a` into `b`.
fn distance(a: &str, b: &str) -> usize {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    let mut before = vec![0; b.len() + 1];
    let mut above: Vec<usize> = (0..=b.len()).collect();
    for (i, &in_a) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, &in_b) in b.iter().enumerate() {
            let mut least = (above[j] + usize::from(in_a != in_b)).min(above[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && in_a == b[j - 1] && a[i - 1] == in_b {
                least = least.min(before[j - 1] + 1);
            }
            row.push(least);
        }
        before = std::mem::replace(&mut above, row);
    }
    above[b.len()]
}
