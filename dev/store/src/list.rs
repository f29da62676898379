//! One page of a listing.

use std::collections::BTreeMap;

/// Keys and common prefixes, in order; `next` is where the next page goes on.
pub(crate) struct Page<T> {
    pub(crate) objects: Vec<(String, T)>,
    pub(crate) prefixes: Vec<String>,
    pub(crate) next: Option<String>,
}

/// At most `limit` keys and prefixes after `after`. Keys that share what stands between `prefix` and the next `delimiter`
/// (if there is one) are one common prefix.
pub(crate) fn page<T>(keys: BTreeMap<String, T>, prefix: &str, delimiter: &str, after: &str, limit: usize) -> Page<T> {
    let mut page = Page { objects: Vec::new(), prefixes: Vec::new(), next: None };
    let mut last = String::new();
    for (key, object) in keys {
        let rest = key.strip_prefix(prefix).unwrap_or_default();
        let common = match delimiter {
            "" => None,
            delimiter => rest.find(delimiter).map(|at| key[..prefix.len() + at + delimiter.len()].to_owned()),
        };
        let name = common.as_deref().unwrap_or(&key);
        if name <= after || page.prefixes.last().is_some_and(|prefix| prefix == name) {
            continue;
        }
        if page.objects.len() + page.prefixes.len() == limit {
            page.next = Some(last);
            return page;
        }
        last = name.to_owned();
        match common {
            Some(common) => page.prefixes.push(common),
            None => page.objects.push((key, object)),
        }
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys() -> BTreeMap<String, ()> {
        ["a", "b/1", "b/2", "c/d/1", "c/e", "z"].into_iter().map(|key| (key.to_owned(), ())).collect()
    }

    fn names(page: &Page<()>) -> Vec<&str> {
        page.objects.iter().map(|(key, ())| key.as_str()).collect()
    }

    #[test]
    fn groups_by_delimiter() {
        let all = page(keys(), "", "/", "", 1000);
        assert_eq!((names(&all), &all.next), (vec!["a", "z"], &None));
        assert_eq!(all.prefixes, ["b/", "c/"]);
        let inner = page(keys().into_iter().filter(|(key, ())| key.starts_with("c/")).collect(), "c/", "/", "", 1000);
        assert_eq!(names(&inner), ["c/e"]);
        assert_eq!(inner.prefixes, ["c/d/"]);
    }

    #[test]
    fn goes_on_where_it_stopped() {
        let mut seen = Vec::new();
        let mut after = String::new();
        loop {
            let part = page(keys(), "", "/", &after, 1);
            seen.extend(part.objects.iter().map(|(key, ())| key.clone()).chain(part.prefixes.clone()));
            match part.next {
                Some(next) => after = next,
                None => break,
            }
        }
        assert_eq!(seen, ["a", "b/", "c/", "z"]);
    }
}
