//! Makes a plan that fails as small as it gets: parts are left out for as long as the run still
//! contradicts the same property (delta debugging, Zeller and Hildebrandt 2002, section 3).

/// The smallest list of steps found that `fails`; `steps` itself must.
pub fn shrink<T: Clone>(steps: &[T], fails: impl Fn(&[T]) -> bool) -> Vec<T> {
    let mut smallest = steps.to_vec();
    let mut part = smallest.len().div_ceil(2);
    while part > 0 {
        let mut at = 0;
        let mut is_smaller = false;
        while at < smallest.len() {
            let mut without = smallest.clone();
            without.drain(at..(at + part).min(smallest.len()));
            if fails(&without) {
                smallest = without;
                is_smaller = true;
            } else {
                at += part;
            }
        }
        if !is_smaller {
            part /= 2;
        }
    }
    smallest
}

/// The property that a violation contradicts: what stands before its first colon.
pub fn property(violation: &str) -> &str {
    violation.split(':').next().unwrap_or(violation)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_it_takes_is_left() {
        let all: Vec<usize> = (0..17).collect();
        let needed = [3, 4, 15];
        let fails = |steps: &[usize]| needed.iter().all(|step| steps.contains(step));
        assert_eq!(shrink(&all, fails), needed);
    }
}
